"""The query bar: ask a new question, or show a saved one."""

import re
from typing import Any

import streamlit as st

from viscnn.ui import data, data_images, state
from viscnn.ui.completion import complete
from viscnn.ui.figures import code, plain
from viscnn.ui.panels import errors
from viscnn.ui.panels.errors import shown_errors
from viscnn.ui.panels.image_sets import image_sets
from viscnn.ui.panels.progress import phases

__all__ = [
    "CRITERIA",
    "class_output",
    "earlier_inputs",
    "filter_output",
    "outputs",
    "queries_of",
    "query_form",
    "saved_queries",
    "target_filter",
]

CRITERIA = {
    "taylor": "mean |A · dT/dA|: how much the target would change (the paper's criterion)",
    "taylor-signed": "A · dT/dA with its sign: raises or lowers the target",
    "taylor-map": "per image |mean of A · dT/dA|: what raises here and lowers there cancels (Molchanov 2017)",
    "activation": "mean |A|: how strongly it responds",
    "gradient": "mean |dT/dZ|: equal for all kernels into one filter",
    "snip": "mean |W · dT/dW|, weight by weight",
    "force(keep=0.05,rounds=10)": "snip in rounds, each on the network that the last one left",
    "integrated-gradients(steps=5)": "change against the mean image × mean gradient on the way there",
    "integrated-gradients-signed(steps=5)": "the same with its sign",
    "grasp": "W · Hessian · gradient: the gradient flow that goes with it",
    "weight": "mean |W|: a control",
    "magnitude": "sum of |W|: a control",
    "random(seed=0)": "drawn by lot: a control",
}
_PLAIN = re.compile(r"[A-Za-z0-9_./#]+")
_REPORT = "viscnn_report"
HISTORY = 12
EARLIER = 50
"""So many earlier inputs go to the browser, to complete from."""
INPUT_HELP = """Image sets and images, combined:

- `three - overall`: what matters for threes more than for all images
- `0.5*(cat + dog) - 2*truck`: weights and brackets
- `"Border Collie" + Bernese_mountain_dog`: quote names with spaces
- `"3"`: a set named by a number is quoted

Names are completed while you type: arrow keys choose, Enter or Tab takes one; the down arrow in an empty field lists
what can be named, and what was asked before.

Image sets of this model: """

OUTPUT_HELP = """What is to be explained; type what is not in the list:

- `loss`, `class:cat`, `layer:conv3`
- `filter:mnist/conv4/7`, `filter:mnist/conv4/7@max`, `filter:mnist/conv4/7@2,3`; `@post` reads it behind its activation
- `direction:conv3[0:0.5,7:-1]`: a weighted sum of the maps of a layer
- `class:cat - class:dog`, `0.5*filter:mnist/conv4/7 + 2*layer:conv2`: linear combinations
"""


def query_form(model: str, stamp: str) -> None:
    """Ask a new query: input, output, criterion; runs it with progress and shows its result."""
    properties = data.properties(stamp, model)
    names = data.image_sets(model)
    sets = ", ".join(map(code, names[:40])) or "none"
    options = outputs(properties, state.current().selected)
    state.fill("output", options[0], model)
    image_sets(stamp, model)  # above the form: what it opens has the height of the screen
    with st.form("query", border=False):
        text = st.text_input(
            "Input", key="input", persist_state="session", placeholder=_example(names), help=INPUT_HELP + sets
        )
        output = st.selectbox(
            "Output",
            options,
            key="output",
            persist_state="session",
            accept_new_options=True,
            help=OUTPUT_HELP,
        )
        criterion = st.selectbox(
            "Criterion",
            list(CRITERIA),
            key="criterion",
            persist_state="session",
            accept_new_options=True,
            help=_criteria_help(),
        )
        images = st.number_input(
            "Images per set, at most",
            0,
            100_000,
            500,
            100,
            key="max_images",
            help="0 uses all; the same ones each time",
        )
        asked = st.form_submit_button("Run query", type="primary", width="stretch", icon=":material/play_arrow:")
    if asked:
        with shown_errors("query"):
            _run(model, text, output, criterion, int(images))
    complete("input", data_images.input_names(stamp, model), earlier=earlier_inputs(model))
    _notes()


def earlier_inputs(model: str) -> list[str]:
    """The inputs of the last queries, newest first."""
    return list(dict.fromkeys(str(each["input"]) for each in _saved(model).values()))[:EARLIER]


def _example(names: list[str]) -> str:
    """A contrast that can be asked of this model."""
    plain = [name for name in names if _PLAIN.fullmatch(name) and not name[0].isdigit() and name != "overall"]
    return f"{plain[len(plain) // 3]} - overall" if plain else "overall"


def _run(model: str, text: str, output: str | None, criterion: str, images: int) -> None:
    with phases("Running the query", "Done") as progress:
        report = data.run_query(
            text, model=model, output=output, criterion=criterion, max_images=images, progress=progress
        )
    seconds = ", ".join(f"{phase} {value:.1f} s" for phase, value in report.seconds.items())
    line = f"{report.images:,} images, of which {report.effective_images:,.1f} decide the result · {seconds}"
    st.session_state[_REPORT] = (report.uid, line, report.warnings)
    state.update(query=report.uid)


def _notes() -> None:
    """Images, seconds and warnings of the last run, while its result is shown."""
    uid, line, warnings = st.session_state.get(_REPORT, (None, "", ()))
    if uid is None or uid != state.current().query:
        return
    st.caption(line)
    for warning in warnings:
        st.caption(f":material/warning: {errors.plain(warning)}")


def _criteria_help() -> str:
    forms = "\n".join(f"- `{name}`: {meaning}" for name, meaning in CRITERIA.items())
    return f"{forms}\n\nParameters can be changed: type, for example, `force(keep=0.1,rounds=5)`."


def outputs(properties: dict[str, Any], selected: str | None) -> list[str]:
    """Outputs to choose from: the loss (or the last layer), the selected filter, every class."""
    logits = bool(properties["logits"])
    found = ["loss"] if logits else ["layer:LAST"]
    if selected is not None and "/input/" not in selected:
        found.append(filter_output(selected))
    classes = [str(each) for each in properties["classes"] or []] if logits else []
    return found + [class_output(name, at, classes) for at, name in enumerate(classes)]


def filter_output(uid: str) -> str:
    """`filter:UID`, quoted where it must be."""
    return "filter:" + (uid if _PLAIN.fullmatch(uid) else f'"{uid}"')


def class_output(name: str, at: int, classes: list[str]) -> str:
    """`class:NAME`, quoted where it must be; by number where the name is not unique or holds a quote."""
    if classes.count(name) > 1 or '"' in name:
        return f"class:#{at}"
    return f"class:{name}" if _PLAIN.fullmatch(name) and not name.startswith("#") else f'class:"{name}"'


def target_filter(output: str) -> str | None:
    """uid of the filter that an output is about, None where it is about something else or more than that."""
    match = re.fullmatch(r"""filter:(?:"([^"]*)"|([^"@\s]+))(?:@[\w,]+)*""", output)
    return None if match is None else match[1] or match[2]


def queries_of(model: str) -> dict[str, str]:
    """The saved queries of a model by uid, newest first, and what they are called."""
    return {uid: _label(each) for uid, each in _saved(model).items()}


def _saved(model: str) -> dict[str, dict[str, Any]]:
    return {str(each["uid"]): each for each in data.session().queries(model) if each["status"] == "complete"}


def saved_queries(model: str) -> str | None:
    """Choose the shown query among the saved ones, and activate it; returns its uid, None when there is none."""
    saved = _saved(model)
    shown = state.current().query
    if shown is not None and shown not in saved:
        st.caption(":material/info: The shown query is not stored any more.")
    if shown not in saved:
        shown = next((uid for uid, each in saved.items() if each["active"]), next(iter(saved), None))
        state.update(query=shown)
    if shown is None:
        st.info("No query is stored yet. Run one above.", icon=":material/arrow_upward:")
        return None
    st.session_state["saved_query"] = shown
    st.selectbox(
        "Shown query",
        list(saved),
        key="saved_query",
        format_func=lambda uid: _label(saved[uid]),
        on_change=lambda: state.update(query=st.session_state["saved_query"]),
        help="Newest first. The page shows any saved query; the *active* one (●) is what ad-hoc Cypher and Neo4j "
        "Browser see as `score`.",
    )
    _activation(shown, active=bool(saved[shown]["active"]))
    if len(saved) > 1:
        _history(saved)
    return shown


def _history(saved: dict[str, dict[str, Any]]) -> None:
    """The last queries: one click shows and activates one."""
    with st.expander("History", icon=":material/history:"):
        for uid, query in list(saved.items())[:HISTORY]:
            label = f"{'● ' if query['active'] else ''}{plain(str(query['text']))}"
            st.button(
                label, key=f"again {uid}", type="tertiary", on_click=_again, args=(uid,), help="Show and activate"
            )
        if len(saved) > HISTORY:
            st.caption(f"The last {HISTORY} of {len(saved):,}; the list above has all.")


def _again(uid: str) -> None:
    with shown_errors("history"):
        data.activate(uid)
        state.update(query=uid)


def _label(query: dict[str, Any]) -> str:
    return f"{'● ' if query['active'] else ''}{query['text']}"


def _activation(uid: str, *, active: bool) -> None:
    if active:
        st.caption("● active: Cypher reads these scores as `score`")
        return
    if st.button("Activate for Cypher", key="activate", icon=":material/bolt:", width="stretch"):
        with shown_errors("activate"):
            counts = data.activate(uid)
            st.toast("Activated: " + ", ".join(f"{value:,} {name}" for name, value in counts.items()))
            st.rerun()
