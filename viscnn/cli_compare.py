"""The command that compares two queries."""

import math
from typing import Annotated, Any

import typer

from viscnn import console

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(compare)


def compare(
    first: Annotated[str, typer.Argument(help="uid of a saved query; viscnn queries lists them.")],
    second: Annotated[str, typer.Argument(help="uid of another one of the same model.")],
    keep: Annotated[float, typer.Option(help="Share of all kernels that is kept of either.")] = 0.1,
    share: Annotated[
        float | None, typer.Option(help="Keep the fewest kernels with this share of either's total score instead.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")
    ] = False,
) -> None:
    """Say which kernels two queries share, layer by layer."""
    with console.session(json) as out, out.viscnn() as viscnn:
        found = viscnn.compare(first, second, keep=keep, share=share, limit=0)
        rows = [_plain(row) for row in found.layers.to_dict("records")]
        result = {
            "first": first,
            "second": second,
            "keep": keep,
            "share": share,
            "iou": _number(found.iou),
            "counts": {"left": found.counts[-1], "shared": found.counts[0], "right": found.counts[1]},
            "layers": rows,
        }
        title = f"intersection over union {found.iou:.3f}"
        out.result(result, console.table(title, ["layer", "left", "right", "shared", "iou", "correlation"], rows))


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    return {str(name): _number(value) if isinstance(value, float) else value for name, value in row.items()}


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value
