"""What the page remembers and offers: views in addresses, and choices that fit the engine."""

import json

import pytest

from viscnn.engine.criteria import CRITERIA as ENGINE_CRITERIA
from viscnn.engine.selection import SCALES as ENGINE_SCALES
from viscnn.engine.verify import ABLATIONS as ENGINE_ABLATIONS
from viscnn.engine.visualize.settings import OBJECTIVES as ENGINE_OBJECTIVES
from viscnn.errors import ModelError
from viscnn.ui.panels.circuit_bar import ABLATIONS, SCALES
from viscnn.ui.panels.errors import plain
from viscnn.ui.panels.query_bar import CRITERIA, class_output, outputs, target_filter
from viscnn.ui.state import KEPT_FRACTIONS, OBJECTIVES, View, Visualized
from viscnn.ui.views.models import zoo_name


def test_view_survives_the_address() -> None:
    view = View(model="m", query="m/query/1", keep=0.3, selected="m/conv/1", source="m/conv0/2", image="a b", kernels=4)
    assert View.from_json(view.to_json()) == view
    assert View().to_json() == '{"v":1}'


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (Visualized("m/conv/1"), '{"v":1,"visualization":{"target":"m/conv/1"}}'),
        (
            Visualized("m/a/0 -> m/b/1", "neuron", -1, "m/c/1"),
            '{"v":1,"visualization":{"target":"m/a/0 -> m/b/1","objective":"neuron","sign":-1,"circuit":"m/c/1"}}',
        ),
    ],
)
def test_a_visualisation_as_the_image_survives_the_address(shown: Visualized, text: str) -> None:
    assert View(visualization=shown).to_json() == text
    assert View.from_json(text) == View(visualization=shown)


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[]",
        "{}",
        '{"v":2}',
        '{"v":1,"keep":0}',
        '{"v":1,"keep":true}',
        '{"v":1,"keep":NaN}',
        '{"v":1,"share":2}',
        '{"v":1,"share":"all"}',
        '{"v":1,"model":3}',
        '{"v":1,"image_set":null}',
        '{"v":1,"kernels":1000000}',
        '{"v":1,"row":1000000000000000000000000000000}',
        '{"v":1,"selected":"\\ud800"}',
        '{"v":1,"model":"\\udfff","keep":0.2}',
        '{"v":1,"image_set":"a\\udc00b"}',
        '{"v":1,"\\ud800":1}',
        '{"v":1,"visualization":{"target":"\\ud800"}}',
        '{"v":1,"visualization":{"target":"m/conv/1","circuit":"\\ud800"}}',
        '{"v":1,"kernels":' + "1" * 5000 + "}",
        '{"v":1,"model":' + "[" * 900 + "]" * 900 + "}",
        '{"v":1,"password":"x"}',
        '{"v":1,"visualization":"m/conv/1"}',
        '{"v":1,"visualization":[]}',
        '{"v":1,"visualization":{}}',
        '{"v":1,"visualization":{"target":null}}',
        '{"v":1,"visualization":{"target":"m/conv/1","objective":"class"}}',
        '{"v":1,"visualization":{"target":"m/conv/1","objective":["channel"]}}',
        '{"v":1,"visualization":{"target":"m/conv/1","sign":0}}',
        '{"v":1,"visualization":{"target":"m/conv/1","sign":true}}',
        '{"v":1,"visualization":{"target":"m/conv/1","circuit":1}}',
        '{"v":1,"visualization":{"target":"m/conv/1","file":"/etc/passwd"}}',
        "[" * 100_000,
    ],
)
def test_bad_views_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        View.from_json(text)


def test_a_whole_character_is_kept_that_json_writes_in_halves() -> None:
    assert View.from_json('{"v":1,"image":"\\ud83d\\ude00.png"}').image == "\U0001f600.png"


def test_what_is_wrong_is_said_in_a_line() -> None:
    with pytest.raises(ValueError, match="is no selected") as caught:
        View.from_json(json.dumps({"v": 1, "selected": ["x" * 100_000]}))
    assert len(str(caught.value)) < 200


def test_choices_are_those_of_the_engine() -> None:
    assert sorted(CRITERIA) == sorted(each.text for each in ENGINE_CRITERIA.values())
    assert tuple(SCALES) == tuple(ENGINE_SCALES)
    assert tuple(ABLATIONS) == tuple(ENGINE_ABLATIONS)
    assert OBJECTIVES == ENGINE_OBJECTIVES


@pytest.mark.parametrize(
    ("output", "uid"),
    [
        ("filter:mnist/conv4/7", "mnist/conv4/7"),
        ('filter:"vgg16-bn/features.3/1"@2,3@post', "vgg16-bn/features.3/1"),
        ("filter:mnist/conv4/7@max", "mnist/conv4/7"),
        ("filter:mnist/conv4/7 - filter:mnist/conv4/8", None),
        ("direction:conv3[0:0.5,7:-1]", None),
        ("class:three", None),
        ("loss", None),
    ],
)
def test_the_filter_that_an_output_is_about(output: str, uid: str | None) -> None:
    assert target_filter(output) == uid


def test_outputs_are_quoted_where_they_must_be() -> None:
    classes = ["cat", "Border Collie", "crane", "crane", 'a "b"', "#1"]
    found = [class_output(name, at, classes) for at, name in enumerate(classes)]
    assert found == ["class:cat", 'class:"Border Collie"', "class:#2", "class:#3", "class:#4", 'class:"#1"']
    assert outputs({"logits": 2, "classes": ["a"]}, "vgg16-bn/features.3/1") == [
        "loss",
        'filter:"vgg16-bn/features.3/1"',
        "class:a",
    ]
    assert outputs({"logits": 0, "classes": []}, "m/input/r") == ["layer:LAST"]


@pytest.mark.parametrize("text", ["../evil.py:f", "/tmp/net.py", "file.py:function", "", "Alex Net", "a/b"])
def test_the_page_ingests_names_only(text: str) -> None:
    with pytest.raises(ModelError, match="command line"):
        zoo_name(text)


def test_kept_fractions_reach_from_a_thousandth_to_all() -> None:
    assert (KEPT_FRACTIONS[0], KEPT_FRACTIONS[-1]) == (0.001, 1.0)
    assert list(KEPT_FRACTIONS) == sorted(KEPT_FRACTIONS)


def test_errors_are_shown_as_they_are() -> None:
    assert plain("output 'direction:conv3[0:x]' costs $1 or `2`") == (
        r"output 'direction:conv3\[0:x\]' costs \$1 or `2`"
    )
