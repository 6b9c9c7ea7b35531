"""What is known of a filter beside its maps: scores under all queries, class profile, filters like it."""

from collections import Counter

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st

from viscnn.ui import data, figures, state

__all__ = ["class_profile", "scores", "similar_filters"]

CLASSES_SHOWN = 12
"""Of more classes only those with the highest bars are shown."""


def scores(stamp: str, uid: str) -> None:
    """The filter's score and rank under every saved query; choosing a row shows that query."""
    rows = data.filter_scores(stamp, uid)
    st.markdown(f"**Scores under the saved queries** · {len(rows):,}")
    if not rows:
        st.caption("No query is stored yet; run one on the page Explore.")
        return
    table = pd.DataFrame(rows)
    key = f"filter_scores_{uid}_{state.current().query}"

    def take() -> None:
        chosen = st.session_state[key]["selection"]["rows"]
        if chosen:
            state.update(query=str(table["query"].iloc[chosen[0]]))

    st.dataframe(
        table.assign(rank=[f"{rank:,} of {of:,}" for rank, of in zip(table["rank"], table["filters"], strict=True)])[
            ["input", "output", "criterion", "score", "rank"]
        ],
        key=key,
        hide_index=True,
        on_select=take,
        selection_mode="single-row",
        height=min(36 * (len(table) + 1), 220),
        column_config={
            "input": "Input",
            "output": "Output",
            "criterion": "Criterion",
            "score": st.column_config.NumberColumn("Score", format="%.3g", width=72),
            "rank": st.column_config.TextColumn("Rank in layer", width=96),
        },
    )


def class_profile(stamp: str, model: str, uid: str) -> None:
    """How much the filter matters to each class, as bars."""
    st.markdown("**Class profile**")
    found = data.class_profile(stamp, uid)
    if found is None or found["profile"] is None:
        command = figures.code(f"viscnn project {model}")
        st.caption(f"There is none yet: {command} makes the profiles of all filters.")
        return
    if found["bestClass"] is None:
        st.caption("The filter matters to no class: its profile is zero.")
        return
    bars = most(found["profile"], found["classes"], CLASSES_SHOWN)
    chart = (
        alt.Chart(bars)
        .mark_bar(color="rgb({},{},{})".format(*figures.BLUE), height=11)
        .encode(
            x=alt.X("share:Q", title=None),
            y=alt.Y("class:N", sort=None, title=None, axis=alt.Axis(labelLimit=180, labelOverlap=False)),
            tooltip=["class:N", alt.Tooltip("share:Q", format=".3f")],
        )
        .properties(height=17 * len(bars) + 24)
    )
    st.altair_chart(chart, key=f"profile_{uid}")
    left_out = len(found["profile"]) - len(bars)
    of_classes = f"{len(bars)} of {len(found['profile']):,} classes; " if left_out else ""
    st.caption(
        f"{of_classes}`taylor` towards the loss of each class, of unit length, from {found['images']:,} images; "
        f"selectivity {figures.number(found['classSelectivity'])}"
    )


def most(profile: list[float], classes: list[str], count: int) -> pd.DataFrame:
    """`class` and `share` of the classes with the highest shares; all in their own order where they are not more."""
    twice = {name for name, times in Counter(classes).items() if times > 1}  # ImageNet has two cranes
    names = [f"{name} #{number}" if name in twice else name for number, name in enumerate(classes)]
    order = np.arange(len(profile)) if len(profile) <= count else np.argsort(-np.asarray(profile), kind="stable")
    chosen = order[:count]
    return pd.DataFrame({"class": [names[at] for at in chosen], "share": [profile[at] for at in chosen]})


def similar_filters(stamp: str, uid: str) -> None:
    """Filters whose class profile is most like this one's; choosing a row selects one."""
    rows = data.similar_filters(stamp, uid)
    if not rows:
        return
    st.markdown("**Filters like this one** · by class profile")
    table = pd.DataFrame(rows)
    key = f"similar_{uid}"

    def take() -> None:
        chosen = st.session_state[key]["selection"]["rows"]
        if chosen:
            state.select(str(table["uid"].iloc[chosen[0]]))

    st.dataframe(
        table.assign(uid=table["uid"].str.split("/", n=1).str[1])[["uid", "similarity", "bestClass"]],
        key=key,
        hide_index=True,
        on_select=take,
        selection_mode="single-row",
        height=min(36 * (len(table) + 1), 220),
        column_config={
            "uid": "Filter",
            "similarity": st.column_config.NumberColumn(
                "Similarity", help="(1 + cosine) / 2 of the class profiles", format="%.3f", width=80
            ),
            "bestClass": "Best class",
        },
    )
