"""Errors of the package as one line on the page, with the way out where the page has one."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from viscnn.errors import ConnectionFailed, ServerError, ViscnnError
from viscnn.ui import data

__all__ = ["plain", "shown_errors"]


def plain(text: str) -> str:
    """The text so that Markdown shows it as it is, but for code in backticks: `[0:x]` would be taken for a link."""
    return re.sub(r"([\\*\[\]<$~])", r"\\\1", text)


@contextmanager
def shown_errors(place: str) -> Iterator[None]:
    """Show a ViscnnError as `st.error` and leave the block; a lost connection adds a button that tries again.

    Within the block the database is asked each small question once, but for long work (see `phases`).

    Args:
        place: a name of the block, unique on its page.
    """
    try:
        with data.remembering():
            yield
    except (ConnectionFailed, ServerError) as error:
        data.reconnect()
        st.error(plain(str(error)), icon=":material/cloud_off:")
        st.button("Try again", icon=":material/refresh:", key=f"retry_{place}")
    except ViscnnError as error:
        st.error(plain(str(error)), icon=":material/error:")
