"""Cypher: run a query of the catalogue, or any plain read."""

import json
from typing import TYPE_CHECKING, Any

import streamlit as st

from viscnn.errors import InputError
from viscnn.queries import Parameter, Query, catalogue
from viscnn.ui import data, state
from viscnn.ui.panels.defaults import default, examples
from viscnn.ui.panels.errors import shown_errors
from viscnn.ui.panels.results import show_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from viscnn.graph import Table

__all__ = ["page"]

EXAMPLE = """MATCH path = (a:Filter)-[k:KERNEL]->(b:Filter)
WHERE k.score > 0
RETURN path
ORDER BY k.score DESC
LIMIT 25"""
FIRST = "read/top_kernels"
_RESULT = "viscnn_result"
_ROW_LIMITS = (100, 1000, 10_000)


def page() -> None:
    """The page."""
    state.restore()
    with shown_errors("cypher"):
        _choose_model()
        named, free = st.tabs(["Catalogue", "Free text"])
        with named:
            _catalogue()
        with free:
            _free_text()


def _choose_model() -> None:
    """Without a model in the view, parameters speak of the first complete one."""
    names = [str(each["name"]) for each in data.models() if each["status"] == "complete"]
    if not names:
        st.info("No complete model in this database yet: the page Models ingests one.", icon=":material/layers:")
    elif state.current().model not in names:
        state.open_model(names[0])


def _catalogue() -> None:
    reads = {query.name: query for query in catalogue().values() if query.mode == "read"}
    left, right = st.columns([3, 1])
    name = left.selectbox(
        "Query",
        list(reads),
        list(reads).index(FIRST),
        key="named_query",
        persist_state="session",
        format_func=lambda each: reads[each].title,
    )
    query = reads[name]
    st.markdown(query.description)
    with st.form(f"named_{name}"):
        given = _parameters(query)
        limit = right.selectbox("Rows, at most", _ROW_LIMITS, index=1, key="named_limit")
        asked = st.form_submit_button("Run", type="primary", icon=":material/play_arrow:")
    with st.expander("Cypher text"):
        st.code(query.text, language="cypher")
    if asked:
        _run("named", name, lambda: data.run_named(name, _arguments(query, given), limit=limit))
    _show("named", name)


def _parameters(query: Query) -> dict[str, Any]:
    """Inputs for all parameters, side by side."""
    if not query.parameters:
        return {}
    columns = st.columns(min(3, len(query.parameters)))
    names = examples()
    given = {}
    for at, each in enumerate(query.parameters):
        with columns[at % len(columns)]:
            given[each.name] = _parameter(each, query.name, default(each.default, names))
    return given


def _parameter(parameter: Parameter, query: str, default: Any) -> Any:
    """An input that fits the type of the default; anything but text and whole or broken numbers is JSON."""
    label, key = parameter.name, f"parameter_{query}_{parameter.name}"
    if isinstance(default, bool):
        return st.checkbox(label, default, key=key, help=parameter.description)
    if isinstance(default, int):
        return int(st.number_input(label, value=default, step=1, key=key, help=parameter.description))
    if isinstance(default, float):
        return st.number_input(label, value=default, format="%g", key=key, help=parameter.description)
    if isinstance(default, str):
        return st.text_input(label, default, key=key, help=parameter.description)
    return st.text_input(f"{label} (JSON)", json.dumps(default), key=key, help=parameter.description)


def _arguments(query: Query, given: dict[str, Any]) -> dict[str, Any]:
    """All parameters, those that are neither text nor numbers read from JSON."""
    arguments = {}
    for each in query.parameters:
        value = given[each.name]
        if not isinstance(each.default, str | int | float):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise InputError(f"parameter {each.name} is not JSON: {error}") from error
        arguments[each.name] = value
    return arguments


def _free_text() -> None:
    with st.form("free"):
        text = st.text_area(
            "Cypher",
            EXAMPLE,
            key="free_text",
            persist_state="session",
            height=150,
            help="One plain read: writes, LOAD CSV, SHOW and procedures outside the list are refused. "
            "`score` is the active query's score.",
        )
        left, right = st.columns([3, 1], vertical_alignment="bottom")
        limit = right.selectbox("Rows, at most", _ROW_LIMITS, index=1, key="free_limit")
        asked = left.form_submit_button("Run", type="primary", icon=":material/play_arrow:", key="free_run")
    if asked:
        _run("free", "result", lambda: data.run_text(text, limit=limit))
    _show("free", "result")


def _run(tab: str, name: str, query: "Callable[[], Table]") -> None:
    """Run and keep the result of a tab, so that it outlives reruns of the page."""
    st.session_state.pop(f"{_RESULT}_{tab}", None)
    with shown_errors(f"run_{tab}"):
        st.session_state[f"{_RESULT}_{tab}"] = (name, query())


def _show(tab: str, name: str) -> None:
    of, found = st.session_state.get(f"{_RESULT}_{tab}", (None, None))
    if of == name and found is not None:
        show_result(found, name.replace("/", "_"))
