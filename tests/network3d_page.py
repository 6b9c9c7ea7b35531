"""A page with a made-up network for the tests of the 3-D component: `?size=large&kernels=5000&theme=...`."""

from typing import Literal, cast

import numpy as np
import pandas as pd
import streamlit as st

from viscnn.ui.network3d import clicked, network3d

SIZES = {"small": (1, 16, 24, 32, 32), "large": (3, 96, 256, 384, 384, 256), "deep": (3, *[64] * 4, *[128] * 12)}


def made_up(layers: tuple[int, ...], count: int, *, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Filters in sunflower discs, and the `count` strongest of random kernels between neighbouring layers."""
    generator = np.random.default_rng(seed)
    rows, starts = [], np.cumsum([0, *layers])
    for layer, filters in enumerate(layers):
        i = np.arange(filters)
        radius, angle = np.sqrt(i + 0.5) * (0 if filters == 1 else 1), i * np.pi * (3 - np.sqrt(5))
        colours = ["#e03131", "#2f9e44", "#1c7ed6"] if filters == 3 else ["#868e96"] if filters == 1 else [""] * filters
        rows.append(
            pd.DataFrame(
                {
                    "x": radius * np.cos(angle),
                    "y": radius * np.sin(angle),
                    "z": 10.0 * layer,
                    "layer": layer,
                    "score": generator.beta(0.8, 2.5, filters) if layer else 1.0,
                    "colour": colours,
                    "uid": [f"made-up/layer{layer}/{channel}" for channel in i],
                }
            )
        )
    nodes = pd.concat(rows, ignore_index=True)
    nodes["value"] = nodes["score"].where(nodes["layer"] > 0) * 0.01
    nodes["target"] = False
    nodes.loc[len(nodes) - 5, "target"] = True
    return nodes, _kernels(nodes["score"].to_numpy(), starts, count, generator)


def _kernels(score: np.ndarray, starts: np.ndarray, count: int, generator: np.random.Generator) -> pd.DataFrame:
    parts = []
    for layer in range(len(starts) - 2):
        source, target = np.meshgrid(
            np.arange(starts[layer], starts[layer + 1]), np.arange(starts[layer + 1], starts[layer + 2])
        )
        weight = generator.standard_normal(source.size)
        strength = np.abs(weight) * (0.1 + score[source.ravel()]) * (0.1 + score[target.ravel()])
        sign = np.where(np.abs(weight) < 0.6, 0, np.sign(weight))
        strength /= strength.max()
        parts.append(
            pd.DataFrame({"source": source.ravel(), "target": target.ravel(), "sign": sign, "strength": strength})
        )
    kernels = pd.concat(parts).nlargest(count, "strength").reset_index(drop=True)
    kernels["width"] = (255 * kernels.pop("strength")).astype("uint8")
    return kernels


def by_uids() -> dict[str, str] | None:
    """What `?selected=SOURCE TARGET` names."""
    names = st.query_params.get("selected", "").split()
    return {"kind": "kernel", "source": names[0], "target": names[1]} if names else None


def main() -> None:
    """The page: a network, a jump by Python, a change of the data, and what is selected."""
    st.set_page_config(layout="wide")
    st.markdown("<style>.block-container{padding-top:2rem}</style>", unsafe_allow_html=True)
    sizes, state = SIZES[st.query_params.get("size", "small")], st.session_state
    count = st.radio("kernels", [int(st.query_params.get("kernels", 600)), 100], horizontal=True)
    nodes, kernels = made_up(sizes, count)
    if st.button("jump to filter 20"):
        state["jump"] = ({"kind": "filter", "index": 20}, state.get("jump", (None, 0))[1] + 1)
    selected, revision = state.get("jump", (by_uids(), 0))
    shown = st.checkbox("show", value=True)
    if shown:
        chosen = network3d(
            nodes,
            kernels,
            revision=f"{len(nodes)}-{count}",
            selected=state.get("chosen", selected) if revision == state.get("seen") else selected,
            selected_revision=revision,
            layers=["input", *(f"conv{i} · {size}" for i, size in enumerate(sizes) if i)],
            legend=f"{len(kernels):,} of {len(kernels) * 7:,} kernels drawn",
            palette=cast(Literal["signs", "safe", "comparison"], st.query_params.get("palette", "signs")),
            on_select=lambda: state.update(clicked=clicked()),
        )
        state["chosen"], state["seen"] = chosen, revision
        st.code(f"CHOSEN {chosen} CLICKED {state.get('clicked')}")


main()
