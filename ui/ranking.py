"""What the filters and kernels of a drawing are ranked by: as in the graph's own lists, and as they are drawn."""

import pandas as pd

__all__ = ["sizes"]


def sizes(drawn: pd.DataFrame) -> "pd.Series[float]":
    """The scores of filters or kernels; of a signed criterion their sizes, which the picture shows too.

    Args:
        drawn: `score`, and `shown`, which of a signed criterion alone is above zero where the score is below.
    """
    return drawn["score"].abs().where(drawn["shown"] > 0, drawn["score"])
