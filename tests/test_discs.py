"""Where discs stand in the 3-D view: side by side at one depth, with captions that can be told apart."""

import itertools

import numpy as np
import pandas as pd
import pytest

from viscnn.ui import discs


def layers(*depths: int, names: tuple[str, ...] = ()) -> pd.DataFrame:
    """Layers 0, 1, 2... of these depths, branches counted within each; named `layerN` or as given."""
    branches = [depths[:at].count(depth) for at, depth in enumerate(depths)]
    return pd.DataFrame(
        {
            "index": range(len(depths)),
            "depth": depths,
            "branch": branches,
            "name": names or [f"layer{at}" for at in range(len(depths))],
            "filters": [8 * (at + 1) for at in range(len(depths))],
        }
    )


def filters(*radii: float) -> pd.DataFrame:
    """Four filters a layer, as far from the middle of its disc as is asked."""
    angle = np.arange(4) * np.pi / 2
    parts = [
        pd.DataFrame({"layerIndex": at, "u": radius * np.cos(angle), "v": radius * np.sin(angle)})
        for at, radius in enumerate(radii)
    ]
    return pd.concat(parts, ignore_index=True)


def test_a_chain_stays_on_the_axis() -> None:
    centres = discs.offsets(filters(0.2, 1.0, 0.5), layers(0, 1, 2))
    assert centres.to_numpy().tolist() == [[0, 0]] * 3


def test_the_first_branch_stays_on_the_axis_and_the_others_stand_above_and_below() -> None:
    centres = discs.offsets(filters(0.2, 1.0, 0.5, 0.25), layers(0, 1, 1, 1))
    assert centres["u"].tolist() == [0] * 4
    assert centres["v"].tolist() == [0, 0, 1.0 + discs.GAP + 0.5, -(1.0 + discs.GAP + 0.25)]


@pytest.mark.parametrize("count", [2, 3, 5, discs.MOST_IN_A_COLUMN, discs.MOST_IN_A_COLUMN + 1, 32])
def test_discs_of_one_depth_never_overlap(count: int) -> None:
    radii = np.random.default_rng(count).uniform(0.05, 1, count).tolist()
    centres = discs.offsets(filters(0.2, *radii), layers(0, *[1] * count)).to_numpy()[1:]
    for (a, one), (b, two) in itertools.combinations(zip(centres, radii, strict=True), 2):
        assert np.hypot(*(a - b)) >= one + two + discs.GAP - 1e-9


def test_many_layers_of_one_depth_stand_in_a_square_not_in_a_tower() -> None:
    centres = discs.offsets(filters(0.2, *[1.0] * 32), layers(0, *[1] * 32)).to_numpy()[1:]
    across, high = np.ptp(centres, axis=0)
    assert across == high < 14


def test_one_caption_a_depth_at_its_lowest_disc() -> None:
    names = ("input", "stem", "mixed.a", "mixed.b.conv", "up", "a_rather_long_name", "another_rather_long_one", "end")
    found = layers(0, 1, 2, 2, 3, 3, 3, 4, names=names)
    shown = discs.captions(found, discs.offsets(filters(*[0.5] * 8), found))
    assert shown == ["input · 8", "stem · 16", "mixed · 2 layers", "", "", "", "up + 2 more", "end · 64"]


@pytest.mark.parametrize(
    ("names", "caption"),
    [
        (("inception_4b_1x1", "inception_4b_3x3_reduce"), "inception_4b · 2 layers"),
        (("layer2.0.conv1", "layer2.0.downsample.0"), "layer2.0 · 2 layers"),
        (("convolution_wide", "conversion_narrow"), "convolution_wide + 1 more"),
    ],
)
def test_what_names_have_in_common(names: tuple[str, str], caption: str) -> None:
    found = layers(0, 1, 1, names=("input", *names))
    assert discs.captions(found, discs.offsets(filters(1.0, 1.0, 1.0), found))[1] == caption


def test_few_short_names_of_one_depth_are_all_said() -> None:
    found = layers(0, 1, 1, names=("input", "left", "right"))
    assert discs.captions(found, discs.offsets(filters(1.0, 1.0, 1.0), found))[1:] == ["left + right", ""]


def test_long_names_keep_their_end() -> None:
    names = ("input", "features.denseblock3.denselayer17.conv2", "x" * 60)
    found = layers(0, 1, 2, names=names)
    shown = discs.captions(found, discs.offsets(filters(1.0, 1.0, 1.0), found))
    assert shown == ["input · 8", "…denselayer17.conv2 · 16", "…" + "x" * 26 + " · 24"]


def test_layers_that_have_no_filters_in_the_drawing_still_have_a_place() -> None:
    assert discs.offsets(filters(0.5), layers(0, 1, 1)).shape == (3, 2)
