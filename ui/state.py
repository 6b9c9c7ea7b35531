"""What a person looks at: a frozen `View`, kept in the session and mirrored as JSON in the page's address.

A link reproduces the view. The JSON carries a version; anything that is not a valid view of this version is replaced
by the default view, with a warning.
"""

import json
import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import streamlit as st

from viscnn.ui.figures import plain

__all__ = [
    "DRAWINGS",
    "KEPT_FRACTIONS",
    "OBJECTIVES",
    "PANEL",
    "SCORE_SHARES",
    "SELECTED",
    "VERSION",
    "View",
    "Visualized",
    "clicks",
    "current",
    "fill",
    "jumps",
    "look_at",
    "looks",
    "nearest",
    "open_model",
    "restore",
    "select",
    "update",
]

VERSION = 1
KEPT_FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)
SCORE_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
DRAWINGS = ("diagram", "network")
OBJECTIVES = ("channel", "neuron")
PARAMETER = "view"
_VIEW, _WARNING = "viscnn_view", "viscnn_view_warning"
_JUMPS, _CLICKS, _LOOKS = "viscnn_jumps", "viscnn_clicks", "viscnn_looks"
PANEL, SELECTED = "panel", "Selected"
"""Key of the switch between panels, and its choice that shows the selection."""
_NO_TEXT = re.compile("[\ud800-\udfff]")
"""Halves of characters, which JSON can write and nothing else can hold."""
_MOST_CELLS = 1_000_000
_MOST_SAID = 80


@dataclass(frozen=True)
class Visualized:
    """A feature visualisation with the default settings, by what it is of.

    Attributes:
        target: uid of a filter, or `SOURCE -> TARGET` of a kernel.
        objective: `channel` or `neuron`.
        sign: 1 for the largest, -1 for the smallest activation.
        circuit: uid of the circuit whose masked network it is rendered from.
    """

    target: str
    objective: str = "channel"
    sign: int = 1
    circuit: str | None = None

    def fits(self) -> bool:
        """Whether all values are of their kind."""
        return (
            _is_text(self.target)
            and self.objective in OBJECTIVES
            and type(self.sign) is int
            and self.sign in (1, -1)
            and (self.circuit is None or _is_text(self.circuit))
        )


@dataclass(frozen=True)
class View:
    """The state of the page.

    Attributes:
        model: name of the shown model.
        query: uid of the shown query.
        other: uid of the query that it is compared with.
        circuit: uid of the shown circuit.
        drawing: how a circuit is drawn, `diagram` or `network` (in 3-D).
        projection: uid of the projection that places the filters; None is the model's active one.
        keep: kept fraction of the drawn subgraph, in (0, 1].
        share: of the total score that the drawn subgraph holds, in (0, 1], instead of `keep`; None goes by `keep`.
        selected: uid of the selected filter, or of the target of the selected kernel.
        source: uid of the selected kernel's source; None when a filter is selected.
        image_set, image: what the activation map is shown on; the image is a path of the model's source.
        visualization: what it is shown on instead, if any.
        safe: whether signs are drawn in colours for any kind of colour blindness.
        row, column: the cell of the activation map whose receptive field is outlined; None is none.
        kernels: how many incoming kernels the panel shows.
    """

    model: str | None = None
    query: str | None = None
    other: str | None = None
    circuit: str | None = None
    drawing: str = "diagram"
    projection: str | None = None
    keep: float = 0.1
    share: float | None = None
    selected: str | None = None
    source: str | None = None
    image_set: str = "overall"
    image: str | None = None
    visualization: Visualized | None = None
    safe: bool = False
    row: int | None = None
    column: int | None = None
    kernels: int = 8

    def to_json(self) -> str:
        """The version and all fields that differ from the default."""
        return json.dumps({"v": VERSION} | _changed(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote; raises ValueError naming what is wrong."""
        try:
            given = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError("it is not JSON") from error
        if not isinstance(given, dict) or given.pop("v", None) != VERSION:
            raise ValueError(f"it is not of version {VERSION}")
        unknown = given.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"it has no field {_said(min(unknown))}")
        if given.get("visualization") is not None:
            given["visualization"] = _visualized(given["visualization"])
        for name, value in given.items():
            _check(name, value)
        return cls(**given)


def _changed(record: "View | Visualized") -> dict[str, Any]:
    """The fields that differ from their defaults, the fields of a record inside likewise."""
    values = {each.name: getattr(record, each.name) for each in fields(record)}
    changed = {each.name: values[each.name] for each in fields(record) if values[each.name] != each.default}
    return {name: _changed(value) if isinstance(value, Visualized) else value for name, value in changed.items()}


def _visualized(given: Any) -> Visualized:
    """The record of a JSON object; raises ValueError."""
    try:
        found = Visualized(**given)
        if found.fits():
            return found
    except TypeError:  # no object, no target, or a field that there is not
        pass
    raise ValueError(f"{_said(given)} is no visualization")


def _check(name: str, value: Any) -> None:
    if name == "share" and value is None:
        fits = True
    elif name in {"keep", "share"}:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1
    elif name == "kernels":
        fits = type(value) is int and 1 <= value <= 64
    elif name == "drawing":
        fits = value in DRAWINGS
    elif name == "safe":
        fits = isinstance(value, bool)
    elif name == "visualization":
        fits = value is None or isinstance(value, Visualized)
    elif name in {"row", "column"}:
        fits = value is None or (type(value) is int and 0 <= value < _MOST_CELLS)
    else:
        fits = _is_text(value) or (value is None and name != "image_set")
    if not fits:
        raise ValueError(f"{_said(value)} is no {name}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not _NO_TEXT.search(value)


def _said(value: Any) -> str:
    """A wrong value, as far as a line can hold it."""
    short = reprlib.Repr()
    short.maxstring = _MOST_SAID
    return short.repr(value)


def restore() -> View:
    """The session's view, at first read from the address; call at the top of every page."""
    if _VIEW not in st.session_state:
        st.session_state[_VIEW] = _from_address()
    if _WARNING in st.session_state:
        st.warning(st.session_state.pop(_WARNING), icon=":material/link_off:")
    _to_address()
    return current()


def current() -> View:
    """The view of this session."""
    view = st.session_state.get(_VIEW)
    return view if isinstance(view, View) else View()


def update(**changes: Any) -> None:
    """Change fields of the view; the address follows."""
    st.session_state[_VIEW] = replace(current(), **changes)
    _to_address()


def open_model(name: str | None) -> None:
    """Show a model: its own query and projection, nothing selected; what is kept, and the colours, stay."""
    before = current()
    st.session_state[_VIEW] = View(model=name, keep=before.keep, share=before.share, safe=before.safe)
    _to_address()


def select(uid: str | None, source: str | None = None, *, by_click: bool = False) -> None:
    """Select a filter, or with `source` the kernel from there into it; not `by_click` in the 3-D view: it follows."""
    update(selected=uid, source=source, row=None, column=None)
    counter = _CLICKS if by_click else _JUMPS
    st.session_state[counter] = st.session_state.get(counter, 0) + 1
    if uid is not None:
        st.session_state[PANEL] = SELECTED


def look_at(visualization: Visualized | None = None, **changes: Any) -> None:
    """Show maps on a visualisation, or on the view's image, with `changes` of the view; an upload is taken away."""
    st.session_state[_LOOKS] = looks() + 1
    update(visualization=visualization, **changes)


def looks() -> int:
    """How often `look_at` was called: part of the upload's key, as only a new widget has no file, and of the map's
    revision, as it may have chosen another cell of the same map."""
    return int(st.session_state.get(_LOOKS, 0))


def jumps() -> int:
    """How often the selection was changed elsewhere than in the 3-D view."""
    return int(st.session_state.get(_JUMPS, 0))


def clicks() -> int:
    """How often it was changed in the 3-D view."""
    return int(st.session_state.get(_CLICKS, 0))


def fill(key: str, value: str, since: object) -> None:
    """Put `value` into a widget that is about to be drawn, if what it comes from is not what it came from last time.

    What a person has chosen or typed since then stays.
    """
    memory = f"{key}:filled"
    if st.session_state.get(memory) != since:
        st.session_state[key] = value
        st.session_state[memory] = since


def nearest(steps: Sequence[float], value: float) -> float:
    """The step of a slider that is nearest to a value."""
    return min(steps, key=lambda step: abs(step - value))


def _from_address() -> View:
    text = st.query_params.get(PARAMETER)
    if text is None:
        return View()
    try:
        return View.from_json(text)
    except ValueError as error:
        said = f"The link's view was not used: {error}. The default view is shown instead."
        st.session_state[_WARNING] = plain(said)
        return View()


def _to_address() -> None:
    # streamlit drops the parameters on a change of page, so every page writes them anew
    text = current().to_json()
    if current() == View():
        st.query_params.pop(PARAMETER, None)
    elif st.query_params.get(PARAMETER) != text:
        st.query_params[PARAMETER] = text
