"""The circuit bar: extract a new circuit, or show a stored one."""

from typing import Any

import pandas as pd
import streamlit as st

from viscnn.ui import data, data_images, figures, state
from viscnn.ui.completion import complete
from viscnn.ui.panels.errors import shown_errors
from viscnn.ui.panels.progress import phases
from viscnn.ui.panels.query_bar import CRITERIA, INPUT_HELP, earlier_inputs, outputs

__all__ = ["ABLATIONS", "SCALES", "circuit_form", "compare_circuits", "stored_circuits"]

SCALES = {
    "sum": "score x positions: an estimate of the target's change",
    "layer-l2": "score over the L2 norm of its layer's scores",
    "raw": "the score as it is",
}
ABLATIONS = {
    "zero": "removed kernels contribute nothing",
    "mean": "removed kernels read the mean input map",
    "resample": "removed kernels read another image's input map",
}
_EXTRACT, _TARGET_OF = "extract", "viscnn_target_of"
FRACTIONS = tuple(step for step in state.KEPT_FRACTIONS if step >= 0.005)


def circuit_form(model: str, stamp: str) -> None:
    """Ask for a circuit; extracts, verifies and stores it with progress."""
    properties = data.properties(stamp, model)
    sets = ", ".join(map(figures.code, data.image_sets(model)[:40])) or "none"
    targets = _targets(properties, stamp, model)
    _fill(model, targets[0])
    with st.form("circuit", border=False):
        settings: dict[str, Any] = {
            "target": st.selectbox(
                "Target",
                targets,
                key="target",
                persist_state="session",
                accept_new_options=True,
                help="A filter's uid, or a class such as `class:three`.",
            ),
            "input": st.text_input("Input", key="circuit_input", persist_state="session", help=INPUT_HELP + sets),
            "keep": st.select_slider(
                "Kept fraction",
                FRACTIONS,
                0.1,
                key="circuit_keep",
                persist_state="session",
                format_func=figures.percent,
                help="Share of the kernels upstream of the target.",
            ),
        }
        with st.expander("More"):
            settings |= _more()
        asked = st.form_submit_button(
            "Extract circuit", type="primary", width="stretch", icon=":material/content_cut:", key=_EXTRACT
        )
    if asked:
        with shown_errors("extract"):
            _run(model, settings)
    complete("circuit_input", data_images.input_names(stamp, model), earlier=earlier_inputs(model))


def _fill(model: str, first: str) -> None:
    """The form speaks of the model and of the filter that was selected last; nothing of what is sent is replaced."""
    state.fill("circuit_input", "overall", model)
    of: tuple[str, str | None] = st.session_state.get(_TARGET_OF, ("", None))
    selected = _selected()
    if of[0] != model or selected is not None:
        of = st.session_state[_TARGET_OF] = (model, selected)
    if st.session_state.get(_EXTRACT):
        first = st.session_state.get("target") or first
    state.fill("target", first, of)


def _selected() -> str | None:
    """The selected filter, or the target of the selected kernel; input channels are nobody's target."""
    selected = state.current().selected
    return None if selected is None or "/input/" in selected else selected


def _more() -> dict[str, Any]:
    return {
        "criterion": st.selectbox("Criterion", list(CRITERIA), key="circuit_criterion"),
        "scale": st.selectbox("Scale", list(SCALES), key="scale", help=_listed(SCALES)),
        "ablation": st.selectbox("Ablation", list(ABLATIONS), key="ablation", help=_listed(ABLATIONS)),
        "excitatory": st.checkbox("Excitatory only", key="excitatory", help="For signed criteria: rank by value."),
        "max_images": int(
            st.number_input(
                "Images per set, at most", 0, 100_000, 500, 100, key="circuit_images", help="For scoring; 0 uses all"
            )
        ),
        "check_images": int(st.number_input("Check images, at most", 0, 100_000, 200, 50, key="check_images")),
    }


def _listed(meanings: dict[str, str]) -> str:
    return "\n".join(f"- `{name}`: {meaning}" for name, meaning in meanings.items())


def _targets(properties: dict[str, Any], stamp: str, model: str) -> list[str]:
    """The selected filter, the classes, then all filters of the layers that the model ends in."""
    selected = _selected()
    found = [] if selected is None else [selected]
    found += [each for each in outputs(properties, None) if each.startswith("class:")]
    for layer in data.ends(stamp, model).to_dict("records"):
        found += [f"{layer['uid']}/{channel}" for channel in range(int(layer["filters"]))]
    return list(dict.fromkeys(found))


def _run(model: str, settings: dict[str, Any]) -> None:
    target = str(settings.pop("target") or "")
    with phases("Extracting the circuit", "Extracted and verified") as progress:
        report = data.run_circuit(target, model=model, progress=progress, **settings)
    state.update(circuit=report.uid)


def stored_circuits(model: str) -> str | None:
    """Choose the shown circuit among the stored ones, newest first; returns its uid, None when there is none."""
    stored = data.session().circuits(model)
    uids = [str(each["uid"]) for each in stored]
    shown = state.current().circuit
    if shown not in uids:
        shown = uids[0] if uids else None
        state.update(circuit=shown)
    if shown is None:
        st.info("No circuit is stored yet. Choose a target on the left and extract one.", icon=":material/arrow_back:")
        return None
    st.session_state["shown_circuit"] = shown
    labels = {str(each["uid"]): _label(each) for each in stored}
    st.selectbox(
        f"Stored circuits ({len(stored)})",
        uids,
        key="shown_circuit",
        format_func=labels.__getitem__,
        on_change=lambda: state.update(circuit=st.session_state["shown_circuit"]),
    )
    return shown


def compare_circuits(model: str) -> None:
    """A table of all stored circuits with their evidence."""
    with st.expander("All stored circuits"):
        st.dataframe(pd.DataFrame(data.session().circuits(model)).drop(columns=["uid"]), hide_index=True)


def _label(circuit: dict[str, Any]) -> str:
    r = "undefined" if circuit["pearson"] is None else f"{circuit['pearson']:.3f}"
    return f"{circuit['target']} · {circuit['kernels']:,} kernels ({figures.percent(circuit['keptFraction'])}) · r {r}"
