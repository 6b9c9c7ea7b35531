"""The exemplars of a filter: patches of the images that it responds to most and least; a click opens the image."""

from typing import Any

import pandas as pd
import streamlit as st

from viscnn.ui import data, data_exemplars, figures, state
from viscnn.ui.data_exemplars import SIDE, Made
from viscnn.ui.panels.errors import plain, shown_errors
from viscnn.ui.panels.progress import phases

__all__ = ["exemplar_panel"]

MOST = 24
"""Patches of each kind that are shown, if there are more."""
MOST_IMAGES = 1_000
"""Images that the page looks at unless it is told otherwise."""

Exemplar = dict[str, Any]


def exemplar_panel(stamp: str, model: str, uid: str, *, key: str = "exemplars") -> None:
    """The exemplars of a filter that is no input channel, or how to find them.

    Args:
        key: unique on the page.
    """
    st.markdown("**Exemplars**")
    with shown_errors(key):
        made = data_exemplars.made(model)
        if made is None:
            _offer(model, key)
            return
        exemplars = [each for each in data_exemplars.listed(uid) if -MOST <= each["rank"] < MOST]
        ranks = tuple(each["rank"] for each in exemplars)
        pictures, missing = data_exemplars.patches(stamp, made.hash, uid, ranks)
        if missing:
            st.caption(f":material/hide_image: {plain(missing)}")
        if pictures:
            _gallery(model, made, exemplars, pictures, key)
        else:
            _table(exemplars)


def _offer(model: str, key: str) -> None:
    """Find the exemplars of a model that has none."""
    command = figures.code(f"viscnn exemplars {model}")
    st.caption(f"None are stored yet: find them here for all filters, or by {command}.")
    with st.form(f"{key}_find", border=False):
        left, right = st.columns([3, 2], vertical_alignment="bottom")
        images = left.number_input(
            "Images, at most", 0, 10_000_000, MOST_IMAGES, 100, key=f"{key}_images", help="0 for all of them"
        )
        asked = right.form_submit_button("Find exemplars", icon=":material/image_search:", width="stretch")
    if asked:
        with phases("Finding exemplars", "Exemplars are stored") as progress:
            report = data_exemplars.find(model, max_images=int(images), progress=progress)
        for note in report.notes if report else ():
            st.toast(plain(note))
        st.rerun()


def _gallery(model: str, made: Made, exemplars: list[Exemplar], pictures: dict[int, str], key: str) -> None:
    sets = data.image_sets(model)
    st.html(_style(key))
    kinds = (
        ("top", range(MOST), f"Responds most, of {made.images:,} images; below each its largest value"),
        ("bottom", range(-MOST, 0), "Responds least; below each its smallest value"),
    )
    for kind, ranks, caption in kinds:
        st.caption(caption)
        with st.container(key=f"{key}_{kind}", horizontal=True, gap="xxsmall"):
            for each in exemplars:
                if each["rank"] in ranks and each["rank"] in pictures:
                    _patch(each, pictures[each["rank"]], sets, key)


def _style(key: str) -> str:
    """Buttons that are a picture with a number below."""
    button = f":is(.st-key-{key}_top, .st-key-{key}_bottom) button"
    return (
        f"<style>{button}{{padding:0;min-height:0;border-radius:3px;overflow:hidden}}"
        f"{button} p{{margin:0;font-size:.72rem;line-height:1.5;font-variant-numeric:tabular-nums}}"
        f"{button} img{{display:block;height:{SIDE}px!important;max-height:none!important;width:auto;"
        f"min-width:{SIDE // 2}px;max-width:{2 * SIDE}px!important;border-radius:0;object-fit:contain!important}}"
        f'{button} img[src^="data:image/png"]{{image-rendering:pixelated}}</style>'  # small ones, cell by cell
    )


def _patch(exemplar: Exemplar, picture: str, sets: list[str], key: str) -> None:
    label = exemplar["label"]
    place = f"row {exemplar['row']}, column {exemplar['column']} of the map"
    words = [exemplar["path"], *([label] if label else []), place]
    st.button(
        f"![patch {exemplar['rank']}]({picture}) {figures.number(exemplar['activation'])}",
        key=f"{key}_{exemplar['rank']}",
        help=" · ".join(figures.plain(word) for word in words),
        on_click=lambda: state.look_at(
            image_set=label if label in sets else sets[0] if sets else "overall",
            image=exemplar["path"],
            row=exemplar["row"],
            column=exemplar["column"],
        ),
    )


def _table(exemplars: list[Exemplar]) -> None:
    """What is known of exemplars whose images are not on this machine."""
    columns = ["rank", "activation", "path", "label", "row", "column"]
    st.dataframe(
        pd.DataFrame(exemplars)[columns],
        hide_index=True,
        height="content",
        column_config={
            "rank": st.column_config.NumberColumn("Rank", help="From 0: most; from -1: least"),
            "activation": st.column_config.NumberColumn("Value", format="%.3g", help="Pre-activation Z"),
            "path": "Image",
            "label": "Label",
            "row": "Row",
            "column": "Column",
        },
    )
