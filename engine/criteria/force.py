"""FORCE: SNIP again and again on the network that is left (de Jorge et al. 2021), for kernels.

Round t keeps the k_t kernels that score highest, k_t = exp(t/T ln k + (1 - t/T) ln N) of the N upstream of the
target (their eq. 8); the next round scores *all* kernels in the network masked so, so a removed one can come back.
Identities of sums and kernels of gates are no rivals: they always stay.
The scores are those of round T, made in a network of k_(T-1) kernels.
"""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from viscnn.engine.batch import Batch
from viscnn.engine.criteria.registry import Scores, criterion
from viscnn.engine.criteria.snip import snip
from viscnn.errors import ExpressionError

__all__ = ["force", "keep_best", "kept_after"]

MOST_ROUNDS = 1000


def keep_best(kernels: Mapping[str, Tensor], done: int, *, keep: float, rounds: int) -> dict[str, Tensor]:
    """Masks of 0 and 1, shaped like the scores, that keep the kernels of the highest after `done` rounds."""
    scores = torch.cat([each.flatten() for each in kernels.values()])
    best = torch.zeros_like(scores)
    best[torch.sort(scores, descending=True, stable=True).indices[: kept_after(done, len(scores), keep, rounds)]] = 1
    parts = torch.split(best, [each.numel() for each in kernels.values()])
    return {name: part.view_as(each) for (name, each), part in zip(kernels.items(), parts, strict=True)}


def kept_after(done: int, kernels: int, keep: float, rounds: int) -> int:
    """How many of `kernels` are kept after `done` of `rounds` rounds."""
    last = max(1.0, keep * kernels)
    share = done / rounds
    count = math.exp(share * math.log(last) + (1 - share) * math.log(kernels))
    return math.ceil(count * (1 - 1e-12))  # a whole number may come out a little too large


def _check(*, keep: float, rounds: int) -> None:
    if not 0 < keep <= 1:
        raise ExpressionError(f"force(keep={keep}): the kept fraction must be above 0 and at most 1")
    if not 1 <= rounds <= MOST_ROUNDS:
        raise ExpressionError(f"force(rounds={rounds}): give from 1 to {MOST_ROUNDS} rounds")


@criterion("force", "snip in rounds, each on the network that the last one left", prune=keep_best, check=_check)
def force(batch: Batch, *, keep: float = 0.05, rounds: int = 10) -> Iterator[Scores]:
    """Kernel and filter: `snip` in the masked network of the batch."""
    return snip(batch)
