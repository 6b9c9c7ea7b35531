"""Suggestions below a text field of the page, for the last name of an expression.

A Streamlit component (sources in `ui/component/`, ready build in `ui/component/dist/complete.js`) that draws nothing in
its own place. The field is Streamlit's own, found in the browser by its key: its form, its value and what Python sees
of it are as they would be without suggestions.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import streamlit as st

__all__ = ["complete"]


def complete(field: str, names: Sequence[Mapping[str, str]], *, earlier: Sequence[str] = ()) -> None:
    """Offer completions while somebody types in a field.

    Args:
        field: key of the `st.text_input`.
        names: `text` as it stands in an expression, and `kind`, as `VISCNN.input_names` gives them.
        earlier: whole expressions.
    """
    key = f"completion_{field}"
    st.html(f"<style>.st-key-{key} {{ position: absolute; }}</style>")
    _component()(key=key, data={"field": field, "names": list(map(dict, names)), "earlier": list(earlier)})


@cache
def _component() -> Callable[..., Any]:
    """The mounting function; registered once a process."""
    build = resources.files("viscnn.ui").joinpath("component", "dist", "complete.js")
    return st.components.v2.component("viscnn_complete", js=build.read_text(encoding="utf-8"))
