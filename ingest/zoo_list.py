"""Which models can be ingested by name, and what of them is on this machine."""

from typing import Any

from viscnn.errors import ModelError
from viscnn.ingest import zoo_bundled, zoo_data, zoo_timm, zoo_torchvision
from viscnn.ingest.zoo_parts import Listed

__all__ = ["SOURCES", "zoo"]

SOURCES: dict[str, Any] = {  # modules of one form: `at_hand()` and `listed()`
    "bundled": zoo_bundled,
    "data": zoo_data,
    "torchvision": zoo_torchvision,
    "timm": zoo_timm,
}


def zoo(source: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """The sources of models (one of `SOURCES`, or all) and the names of each.

    Returns:
        `sources`: rows of `source`, `atHand` (a sentence) and `models` (a number);
        `models`: rows of `name`, `source`, `inputShape` (None where unknown), `ready` (weights are on this machine)
        and `weights` (where they are, or come from).

    Raises:
        ModelError: no such source.
        ConfigError: VISCNN_DATA names no folder.
    """
    if source is not None and source not in SOURCES:
        raise ModelError(f"no models come from {source!r}; use one of {', '.join(SOURCES)}")
    chosen = {key: module for key, module in SOURCES.items() if source in (None, key)}
    names: dict[str, list[Listed]] = {key: module.listed() for key, module in chosen.items()}
    return {
        "sources": [
            {"source": key, "atHand": module.at_hand(), "models": len(names[key])} for key, module in chosen.items()
        ],
        "models": [_row(each) for listed in names.values() for each in listed],
    }


def _row(each: Listed) -> dict[str, Any]:
    return {
        "name": each.name,
        "source": each.source,
        "inputShape": list(each.input_shape) if each.input_shape else None,
        "ready": each.ready,
        "weights": each.weights,
    }
