"""Models: what is stored; ingest a model of the zoo; drop one."""

import re
from typing import Any

import pandas as pd
import streamlit as st

from viscnn.errors import ModelError
from viscnn.ui import data, state
from viscnn.ui.panels.errors import plain, shown_errors
from viscnn.ui.panels.models import UNFINISHED, first_run, ingest, unfinished_models

__all__ = ["page", "table", "zoo_name"]

COLUMNS: dict[str, Any] = {
    "name": "Model",
    "architecture": "Architecture",
    "status": "Status",
    "inputShape": "Input",
    "layers": st.column_config.NumberColumn("Layers", format="localized", help="Without additions"),
    "filters": st.column_config.NumberColumn("Filters", format="localized", help="Without those of additions"),
    "sums": st.column_config.NumberColumn("Sums", format="localized", help="Filters of additions (skip connections)"),
    "kernels": st.column_config.NumberColumn("Kernels", format="localized", help="Those that are stored"),
    "kernelsLeftOut": st.column_config.NumberColumn(
        "Left out", format="localized", help="Kernels that are not stored: `--kernels-above`, `--top-kernels`"
    ),
    "weights": st.column_config.TextColumn("Weights", help="`--no-weights` leaves them out"),
    "heads": st.column_config.TextColumn("Head", help="Whether the linear layers behind the maps are stored"),
    "mixesChannels": st.column_config.TextColumn("Mixes channels", help="Steps such as LRN, LayerNorm and gates"),
    "activeQuery": "Active query",
    "createdAt": "Ingested",
}
MIXES_CHANNELS = (
    "*Mixes channels*: between some layers stands a step that mixes channels (LRN, LayerNorm, a gate). "
    "Kernels behind it are exact; what they read is not one filter's map alone."
)
ZOO = ("mnist", "cifar10", "alexnet", "vgg11", "vgg16", "resnet18", "googlenet", "googlenet-bvlc")
_ZOO_NAME = re.compile(r"[a-z0-9_-]+|timm:[a-z0-9_.]+")


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
    st.dataframe(table(stored), hide_index=True, column_config=COLUMNS, height="content", placeholder="")
    address = data.session().address
    notes = [f"{len(stored)} model{'s' if len(stored) > 1 else ''} in {plain(address)}"]
    for name in unfinished_models(stored):
        notes.append(f":material/hourglass_top: {plain(name)} is not complete: {UNFINISHED}")
    if any(each["mixesChannels"] for each in stored):
        notes.append(MIXES_CHANNELS)
    st.caption("  \n".join(notes))


def table(stored: list[dict[str, Any]]) -> pd.DataFrame:
    """The models as they are shown, one a row; an unfinished one has no counts yet."""
    frame = pd.DataFrame(stored)
    frame["inputShape"] = ["x".join(str(side) for side in shape or ()) for shape in frame["inputShape"]]
    frame["weights"] = frame["weights"].map({True: "stored", False: "not stored"})
    for name in ("heads", "mixesChannels"):
        frame[name] = frame[name].map({True: "yes", False: "no"})
    complete = frame["status"] == "complete"
    for name in ("layers", "filters", "sums", "kernels", "kernelsLeftOut"):
        frame[name] = frame[name].astype("Int64").where(complete)
    return frame[list(COLUMNS)]


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
        st.toast(f"{plain(name)} is dropped")
        if state.current().model == name:
            state.open_model(None)
        st.rerun()
