"""Models: what is stored; ingest a model of the zoo; drop one."""

import re

import pandas as pd
import streamlit as st

from viscnn.errors import ModelError
from viscnn.ui import data, state
from viscnn.ui.panels.errors import shown_errors
from viscnn.ui.panels.models import first_run, ingest

__all__ = ["page", "zoo_name"]

ZOO = ("mnist", "cifar10", "alexnet", "vgg11", "vgg16")
_ZOO_NAME = re.compile(r"[a-z0-9_]+")


def zoo_name(text: str) -> str:
    """A name of the zoo, never a path: the page ingests nothing else. Raises ModelError."""
    if not _ZOO_NAME.fullmatch(text):
        raise ModelError(
            f"{text!r} is no zoo name (mnist, cifar10, or a torchvision name such as alexnet); "
            "models of your own are ingested on the command line: viscnn ingest file.py:function"
        )
    return text


def page() -> None:
    """The page."""
    state.restore()
    with shown_errors("models"):
        stored = data.models()
        if stored:
            _table(stored)
        else:
            first_run()
        left, right = st.columns(2, gap="large")
        with left:
            _ingest()
        with right:
            _drop([str(each["name"]) for each in stored])


def _table(stored: list[dict[str, object]]) -> None:
    frame = pd.DataFrame(stored)
    frame["inputShape"] = ["x".join(str(side) for side in shape or ()) for shape in frame["inputShape"]]
    st.dataframe(
        frame,
        hide_index=True,
        column_config={
            "name": "Model",
            "architecture": "Architecture",
            "status": "Status",
            "inputShape": "Input",
            "layers": "Layers",
            "filters": "Filters",
            "activeQuery": "Active query",
            "createdAt": "Ingested",
        },
    )
    st.caption(f"{len(stored)} model{'s' if len(stored) > 1 else ''} in {data.session().address}")


def _ingest() -> None:
    st.markdown("**Ingest a model of the zoo**")
    with st.form("ingest"):
        name = st.selectbox(
            "Zoo name",
            ZOO,
            key="zoo",
            accept_new_options=True,
            help="mnist and cifar10 are bundled; any torchvision CNN is downloaded with its pretrained weights.",
        )
        asked = st.form_submit_button("Ingest", type="primary", icon=":material/download:")
    if asked:
        with shown_errors("ingest"):
            ingest(zoo_name(str(name or "").strip()))
            st.rerun()


def _drop(names: list[str]) -> None:
    st.markdown("**Drop a model**")
    with st.form("drop"):
        name = st.selectbox("Model to drop", names, key="drop", index=None, placeholder="Choose a model")
        sure = st.checkbox("Remove its filters, kernels, queries and circuits for good", key="drop_sure")
        asked = st.form_submit_button("Drop", icon=":material/delete:")
    if not asked:
        return
    if name is None or not sure:
        st.warning("Choose a model and tick the box to drop it.", icon=":material/info:")
        return
    with shown_errors("drop"):
        data.session().drop(name)
        st.toast(f"{name} is dropped")
        if state.current().model == name:
            state.open_model(None)
        st.rerun()
