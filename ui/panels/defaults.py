"""Defaults of catalogue queries: their headers speak of the toy graph of the tests, the page of what it shows."""

from dataclasses import dataclass
from typing import Any

from viscnn.ui import data, state

__all__ = ["Examples", "default", "examples"]

_TOY = "toy"


@dataclass(frozen=True)
class Examples:
    """What is there of a model for a parameter to name: uids, and the key of the layer; None where there is none."""

    model: str
    queries: tuple[str, ...]
    circuit: str | None
    input_channel: str
    layer: str
    layer_key: int
    filter: str
    image: str | None


def examples() -> Examples | None:
    """What the page shows, or else what is stored, of the model in the view; None without a complete model."""
    view = state.current()
    if view.model is None or all(each["name"] != view.model or each["status"] != "complete" for each in data.models()):
        return None
    stamp = data.stamp(view.model)
    layers = data.layers(stamp, view.model)
    first = layers[~layers["kind"].isin(["input", "sum"])].iloc[0]
    last = data.ends(stamp, view.model).iloc[-1]
    queries = [str(each["uid"]) for each in data.session().queries(view.model) if each["status"] == "complete"]
    circuits = [str(each["uid"]) for each in data.session().circuits(view.model)]
    return Examples(
        model=view.model,
        queries=tuple(dict.fromkeys([*([view.query] if view.query in queries else []), *queries])),
        circuit=view.circuit if view.circuit in circuits else next(iter(circuits), None),
        input_channel=data.input_channel(stamp, view.model),
        layer=str(first["uid"]),
        layer_key=int(first["key"]),
        filter=view.selected or f"{last['uid']}/0",
        image=view.image,
    )


def default(value: Any, names: Examples | None) -> Any:
    """The default of a header, `value`, with the toy graph's names replaced, also inside lists and maps."""
    if names is None:
        return value
    if isinstance(value, dict):
        keys = {"key": names.layer_key}
        return {name: keys[name] if name in keys else default(each, names) for name, each in value.items()}
    if isinstance(value, list):
        return [default(each, names) for each in value]
    if not isinstance(value, str):
        return value
    model, _, rest = value.partition("/")
    return _named(rest, names) if model == _TOY else value


def _named(rest: str, names: Examples) -> str:
    """What stands for `toy/REST`."""
    kind, _, name = rest.partition("/")
    if not rest:
        return names.model
    if kind == "query":
        of = names.queries[1:] if name == "two" and len(names.queries) > 1 else names.queries
        return of[0] if of else f"{names.model}/{rest}"
    if kind == "circuit":
        return names.circuit or f"{names.model}/{rest}"
    if kind == "input":
        return names.input_channel
    if kind == "image":
        return f"{names.model}/image/{names.image or name}"
    return names.filter if name else names.layer
