"""Pictures as plain data: colour scales, images in addresses, network tables, graphs of Cypher results."""

import base64
import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from viscnn.ui import figures


def test_diverging_scale_is_white_at_zero_and_saturates_in_red_and_blue() -> None:
    colours = figures.diverging(np.array([-9.0, -2.0, -1.0, 0.0, 1.0, 2.0]), 2.0)
    assert colours.tolist() == [
        [10, 87, 168],
        [10, 87, 168],
        [132, 171, 212],  # half way from white: 255 - 245/2, 255 - 168/2, 255 - 87/2 (rounded to even)
        [255, 255, 255],
        [224, 128, 137],
        [194, 0, 19],
    ]


def test_undefined_values_are_white() -> None:
    assert figures.diverging(np.array([np.nan]), 1.0).tolist() == [[255, 255, 255]]


def test_limit_of_a_shared_scale() -> None:
    assert figures.largest([np.array([1.0, -3.0]), np.array([2.0]), np.array([])]) == 3.0
    assert figures.largest([np.zeros(3)]) == 1.0
    assert figures.largest([]) == 1.0


@pytest.mark.parametrize("shape", [(28, 28), (3, 5, 3)])
def test_small_images_travel_exactly(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    kind, _, text = figures.data_uri(pixels).partition(",")
    assert kind == "data:image/png;base64"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))), pixels)


def test_large_images_are_compressed() -> None:
    assert figures.data_uri(np.zeros((224, 224, 3), np.uint8)).startswith("data:image/jpeg")


def test_html_is_escaped() -> None:
    bad = '"><script>x</script>'
    for text in (
        figures.figure(np.zeros((2, 2), np.uint8), alt=bad, caption=bad),
        figures.facts({bad: bad}),
        figures.colour_bar(1.0, label=bad),
    ):
        assert "<script>" not in text


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100 %"), (0.61, "61 %"), (0.0999, "10 %"), (0.0234, "2.3 %"), (0.01, "1 %"), (0.001, "0.1 %"), (0, "0 %")],
)
def test_percent(share: float, text: str) -> None:
    assert figures.percent(share) == text


def test_numbers() -> None:
    assert figures.number(0.000123456) == "0.000123"
    assert figures.number(None) == figures.number(float("nan")) == "-"


def test_legend_says_how_many_of_how_many_and_what_is_left_out() -> None:
    assert figures.legend(1234, 45712, 0.611) == "1,234 of 45,712 kernels drawn (2.7 %), 61 % of the total score"
    assert figures.legend(20, 40, 0.5, left_out=7).endswith("score; 7 left out by the cap")
    assert figures.legend(20, 40, 0.5, not_stored=1003).endswith(
        "score; 1,003 not stored (left out when the model was ingested)"
    )
    assert figures.legend(0, 0, 0.0) == "0 of 0 kernels drawn (0 %), 0 % of the total score"


def test_legend_does_not_count_identities_as_kernels() -> None:
    assert figures.legend(20, 40, 0.5, identities=8).startswith("20 of 40 kernels drawn (50 %)")
    assert figures.legend(20, 40, 0.5, identities=8).endswith("score; 8 identities (addends of sums)")
    cut = figures.legend(20, 40, 0.5, left_out=1, identities=8, identities_left_out=2)
    assert cut.endswith("; 1 left out by the cap; 8 identities (addends of sums) (2 left out by the cap)")


def test_names_are_shown_as_they_are_in_markdown() -> None:
    assert figures.plain("_blocks.0._a_/3") == r"\_blocks.0.\_a\_/3"
    assert figures.plain("#conv2d_1[0]") == r"\#conv2d\_1\[0\]"
    assert figures.plain("layer1.0.conv1/25") == "layer1.0.conv1/25"


def test_network_tables() -> None:
    filters = pd.DataFrame(
        {
            "uid": ["m/input/r", "m/conv/0"],
            "u": [0.1, 0.25],
            "v": [0.3, 0.5],
            "z": [0.0, 1.0],
            "layerIndex": [0, 7],
            "shown": [0.0, 0.5],
            "score": [0.0, 0.25],
            "inputChannel": [True, False],
        }
    )
    centres = pd.DataFrame({"u": [0.0, 1.0], "v": [0.0, -2.0]}, index=[0, 7])
    nodes = figures.network_nodes(filters, centres)
    assert nodes.pop("value").isna().tolist() == [True, False]  # an input channel has no score
    assert nodes.to_dict("list") == {
        "x": [np.float32(0.1), 1.25],
        "y": [np.float32(0.3), -1.5],
        "z": [0.0, 1.0],
        "layer": [0, 7],
        "score": [0.0, 0.5],
        "uid": ["m/input/r", "m/conv/0"],
        "colour": ["#d62728", ""],
    }


def test_identities_are_drawn_after_the_kernels_thin_and_with_a_sign_of_their_own() -> None:
    kernels = pd.DataFrame({"source": [0, 0], "target": [1, 1], "sign": [-1, 1], "shown": [1.0, 0.0]})
    identities = pd.DataFrame({"source": [0], "target": [2], "input": [1], "score": [5.0]})
    drawn = figures.network_kernels(kernels, identities)
    assert drawn[["source", "target"]].to_numpy().tolist() == [[0, 1], [0, 1], [0, 2]]
    assert drawn["sign"].tolist() == [-1, 1, figures.IDENTITY]
    assert drawn["width"].tolist()[:2] == [255, 1]
    assert 1 < drawn["width"][2] < 64
    assert [str(each) for each in drawn.dtypes] == ["uint32", "uint32", "int8", "uint8"]
    none = figures.network_kernels(kernels[:0], identities[:0])
    assert (len(none), [str(each) for each in none.dtypes]) == (0, ["uint32", "uint32", "int8", "uint8"])


def node(at: int, **properties: Any) -> dict[str, Any]:
    return {"id": f"n{at}", "labels": ["Filter"], "properties": properties}


def relationship(at: int, start: int, end: int, **properties: Any) -> dict[str, Any]:
    return {"id": f"r{at}", "type": "KERNEL", "start": f"n{start}", "end": f"n{end}", "properties": properties}


def test_graph_parts_are_found_in_paths_lists_and_maps_once() -> None:
    path = {"nodes": [node(1), node(2)], "relationships": [relationship(1, 1, 2)]}
    nodes, relationships = figures.graph_parts([[path, 3], [[{"deep": node(2)}], relationship(2, 2, 9)]])
    assert sorted(nodes) == ["n1", "n2"]
    assert sorted(relationships) == ["r1"]  # the other one's end is not in the result
    assert figures.graph_parts([["text", 1, None, [1.0]]]) == ({}, {})


def test_graph_is_drawn_at_stored_places_and_by_sign() -> None:
    nodes, relationships = figures.graph_parts(
        [
            [
                node(1, uid="m/a/0", x=1.0, y=2.0),
                node(2, uid="m/b/0", x=3, y=-1),
                relationship(1, 1, 2, sign="inhibitory"),
            ]
        ]
    )
    series = figures.graph_spec(nodes, relationships)["series"][0]
    assert series["layout"] == "none"
    places = {entry["name"]: (entry["x"], entry["y"]) for entry in series["data"]}
    assert places == {"m/a/0": (100, -200), "m/b/0": (300, 100)}
    assert series["links"][0]["lineStyle"]["color"] == "rgb(10,87,168)"


def test_graph_without_places_is_laid_out_by_force() -> None:
    nodes, relationships = figures.graph_parts([[node(1, x=1.0, y=2.0), node(2)]])
    series = figures.graph_spec(nodes, relationships)["series"][0]
    assert series["layout"] == "force"
    assert all("x" not in entry for entry in series["data"])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("m/conv/1", "`m/conv/1`"),
        ("a` ![x](y) `b", "`` a` ![x](y) `b ``"),
        ("``", "``` `` ```"),
        ("one\n\ntwo", "`one two`"),
    ],
)
def test_a_name_cannot_leave_its_code(text: str, shown: str) -> None:
    assert figures.code(text) == shown
