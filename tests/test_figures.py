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
    assert figures.legend(1234, 45712, 0.611, 0) == "1,234 of 45,712 kernels drawn (2.7 %), 61 % of the total score"
    assert figures.legend(20, 40, 0.5, 7).endswith("; 7 left out by the cap")
    assert figures.legend(0, 0, 0.0, 0) == "0 of 0 kernels drawn (0 %), 0 % of the total score"


def test_discs_stand_apart_but_a_deep_network_stays_in_reach() -> None:
    assert figures.layer_distance(2) == figures.layer_distance(1) == 1.8
    assert figures.layer_distance(9) == 1.0
    assert figures.layer_distance(100) == 0.9


def test_network_tables() -> None:
    filters = pd.DataFrame(
        {
            "uid": ["m/input/r", "m/conv/0"],
            "u": [0.1, 0.2],
            "v": [0.3, 0.4],
            "z": [0.0, 1.0],
            "layerIndex": [0, 1],
            "shown": [0.0, 0.5],
            "inputChannel": [True, False],
        }
    )
    nodes = figures.network_nodes(filters)
    assert nodes.to_dict("list") == {
        "x": [np.float32(0.1), np.float32(0.2)],
        "y": [np.float32(0.3), np.float32(0.4)],
        "z": [0.0, np.float32(1.8)],
        "layer": [0, 1],
        "score": [0.0, 0.5],
        "uid": ["m/input/r", "m/conv/0"],
        "colour": ["#d62728", ""],
    }
    kernels = figures.network_kernels(
        pd.DataFrame({"source": [0, 0], "target": [1, 1], "sign": [-1, 1], "shown": [1.0, 0.0]})
    )
    assert kernels["width"].tolist() == [255, 1]
    assert [str(each) for each in kernels.dtypes] == ["uint32", "uint32", "int8", "uint8"]


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
