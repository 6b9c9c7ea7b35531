"""Targets: T and the response by hand on tiny maps, what of a pass they need, and what is refused."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests import nets, oracles
from viscnn.engine.capture import Recording, record
from viscnn.engine.output import ClassOutput, Combination, DirectionOutput, LossOutput, parse_output
from viscnn.engine.target import Logit, Loss, Maps, Target, Term, resolve
from viscnn.errors import ExpressionError, NotInGraph
from viscnn.ingest.architecture import Architecture, read_architecture

CLASSES = ("ant", "bee", "cat")
NO_LABELS = torch.empty(0, dtype=torch.int64)


def architecture_of(*steps: nn.Module, shape: tuple[int, int, int] = (1, 2, 2)) -> Architecture:
    return read_architecture(nets.seeded(lambda: nets.chain(*steps, shape=shape)), shape)


@pytest.fixture(scope="module")
def small() -> Architecture:
    """conv1 (2 filters, ReLU) and conv2 (3 filters, no activation) on 2x2 images."""
    return architecture_of(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 3, 1))


def target_of(architecture: Architecture, text: str) -> Target:
    return resolve(parse_output(text), model="net", architecture=architecture, classes=CLASSES)


@pytest.fixture
def recording() -> Recording:
    """Numbers of two images, written by hand."""
    z = torch.tensor(
        [
            [[[1.0, -2.0], [3.0, 6.0]], [[0.0, 4.0], [-4.0, 8.0]]],
            [[[-1.0, -2.0], [-3.0, -4.0]], [[1.0, 1.0], [1.0, 5.0]]],
        ]
    )
    deep = torch.tensor(
        [
            [[[1.0, 2.0], [3.0, 4.0]], [[10.0, 20.0], [30.0, 40.0]], [[-1.0, 0.0], [0.0, 1.0]]],
            [[[0.0, 0.0], [0.0, 8.0]], [[5.0, 5.0], [5.0, 5.0]], [[2.0, 2.0], [2.0, 2.0]]],
        ]
    )
    return Recording(
        maps={"conv1": z, "conv2": deep},
        activated={"conv1": z.clamp(min=0), "conv2": deep},
        output=torch.tensor([[0.0, np.log(2.0), np.log(5.0)], [np.log(3.0), 0.0, 0.0]]),
    )


LABELS = torch.tensor([2, 1])
VALUES = {
    "loss": [np.log(8.0 / 5.0), np.log(5.0)],
    "class:bee": [np.log(2.0), 0.0],
    "class:#0": [0.0, np.log(3.0)],
    "filter:net/conv1/0": [2.0, -2.5],
    "filter:net/conv1/0@max": [6.0, -1.0],
    "filter:net/conv1/1@1,0": [-4.0, 1.0],
    "filter:net/conv1/0@post": [2.5, 0.0],
    "filter:net/conv1/0@max@post": [6.0, 0.0],
    "filter:net/conv1/1@1,0@post": [0.0, 1.0],
    "layer:conv1": [2.0, -0.25],
    "layer:conv1@post": [2.75, 1.0],
    "layer:LAST": [(10 + 100 + 0) / 12, (8 + 20 + 8) / 12],
    "direction:conv2[0:0.5, 2:-2]": [1.25, 1.0 - 4.0],
    "direction:conv2[2:-2, 0:0.5]@max": [2.5, 0.0],  # [2.5, 1; 1.5, 0] and [-4, -4; -4, 0]
    "direction:conv2[0:0.5, 2:-2]@0,1": [1.0, -4.0],
    "direction:conv1[0:1, 1:-1]@post": [2.5 - 3.0, -2.0],
    "direction:conv1[0:1, 1:-1]@max@post": [3.0, -1.0],  # [1, -4; 3, -2] and [-1, -1; -1, -5]
    "class:bee - class:cat": [np.log(2.0 / 5.0), 0.0],
    "-class:cat": [-np.log(5.0), 0.0],
    "0.5*filter:net/conv1/0@max + 2*layer:conv2 - loss": [
        3.0 + 220 / 12 - np.log(8.0 / 5.0),
        -0.5 + 72 / 12 - np.log(5.0),
    ],
    "filter:net/conv1/0@post - filter:net/conv1/0": [0.5, 2.5],
}


@pytest.mark.parametrize("text", VALUES)
def test_values_by_hand(small: Architecture, recording: Recording, text: str) -> None:
    found = target_of(small, text).values(recording, LABELS)
    assert found.shape == (2,)
    np.testing.assert_allclose(found.numpy(), VALUES[text], rtol=1e-6, atol=1e-6)


RESPONSES = {
    "filter:net/conv1/0": [[1.0, -2.0, 3.0, 6.0], [-1.0, -2.0, -3.0, -4.0]],
    "filter:net/conv1/0@max": [[1.0, -2.0, 3.0, 6.0], [-1.0, -2.0, -3.0, -4.0]],
    "filter:net/conv1/0@1,1@post": [[1.0, 0.0, 3.0, 6.0], [0.0, 0.0, 0.0, 0.0]],
    "-2*filter:net/conv1/0": [[-2.0, 4.0, -6.0, -12.0], [2.0, 4.0, 6.0, 8.0]],
    "direction:conv2[0:0.5, 2:-2]": [[2.5, 1.0, 1.5, 0.0], [-4.0, -4.0, -4.0, 0.0]],
}


@pytest.mark.parametrize("text", RESPONSES)
def test_the_response_of_a_filter_or_direction_is_its_map(small: Architecture, recording: Recording, text: str) -> None:
    assert target_of(small, text).response(recording, NO_LABELS).tolist() == RESPONSES[text]


@pytest.mark.parametrize(
    "text",
    [
        "loss",
        "class:bee",
        "layer:conv2",
        "layer:conv1@post",
        "loss + class:bee",
        "filter:net/conv1/0 - class:cat",
        "filter:net/conv1/0@post - filter:net/conv1/0",
        "direction:conv2[0:1] + filter:net/conv2/1",
    ],
)
def test_the_response_of_others_is_t_itself(small: Architecture, recording: Recording, text: str) -> None:
    target = target_of(small, text)
    assert target.response(recording, LABELS).shape == (2, 1)
    assert torch.equal(target.response(recording, LABELS)[:, 0], target.values(recording, LABELS))


def test_a_combination_is_the_sum_of_its_parts(small: Architecture, recording: Recording) -> None:
    parts = [(0.5, "loss"), (-1.0, "class:bee"), (2.0, "filter:net/conv1/1@max@post"), (-3.5, "layer:conv2")]
    parts += [(1e-3, "direction:conv2[0:1, 1:2]@1,1"), (7.0, "filter:net/conv1/0@0,0")]
    text = " + ".join(f"{weight}*{part}" for weight, part in parts)
    expected = sum(weight * target_of(small, part).values(recording, LABELS) for weight, part in parts)
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(target_of(small, text).values(recording, LABELS), expected)


@pytest.mark.parametrize("suffix", ["", "@max", "@1,0", "@post", "@max@post", "@0,1@post"])
def test_a_direction_of_one_filter_is_the_filter(small: Architecture, recording: Recording, suffix: str) -> None:
    direction = target_of(small, f"direction:conv1[1:1]{suffix}")
    single = target_of(small, f"filter:net/conv1/1{suffix}")
    assert direction.text == f"direction:conv1[1:1]{suffix}"
    assert direction.terms == single.terms
    assert direction.filters == single.filters
    assert torch.equal(direction.response(recording, NO_LABELS), single.response(recording, NO_LABELS))


@pytest.mark.parametrize(
    ("text", "last", "activated", "layers", "direct", "filters"),
    [
        ("loss", None, False, "", "", {2: None}),
        ("class:bee", None, False, "", "", {2: None}),
        ("filter:net/conv1/1", 1, False, "1", "1", {1: (1,)}),
        ("filter:net/conv1/1@post", 1, True, "1", "", {1: (1,)}),
        ("filter:net/conv2/2@max", 2, False, "2", "2", {2: (2,)}),
        ("layer:conv1@post", 1, True, "1", "", {1: None}),
        ("direction:conv2[2:1, 0:1]", 2, False, "2", "2", {2: (0, 2)}),
        ("direction:conv1[1:1, 0:1]", 1, False, "1", "1", {1: (0, 1)}),
        ("filter:net/conv1/1@post + filter:net/conv1/0", 1, True, "1", "1", {1: (0, 1)}),
        ("layer:conv2 - filter:net/conv1/0@post", 2, False, "12", "2", {1: (0,), 2: None}),
        ("filter:net/conv2/0 + 2*filter:net/conv1/0@post - layer:conv1", 2, False, "12", "12", {1: None, 2: (0,)}),
        ("layer:conv1 + filter:net/conv1/0", 1, False, "1", "1", {1: None}),
        ("loss - filter:net/conv1/0@post", None, False, "1", "", {1: (0,), 2: None}),
        ("filter:net/conv2/0 + class:ant", None, False, "2", "2", {2: None}),
    ],
)
def test_what_a_target_reads(
    small: Architecture,
    text: str,
    last: int | None,
    activated: bool,
    layers: str,
    direct: str,
    filters: dict[int, tuple[int, ...] | None],
) -> None:
    target = target_of(small, text)
    assert target.last == (None if last is None else small.layers[last - 1])
    assert target.last_activated == activated
    assert [layer.name for layer in target.layers] == [f"conv{each}" for each in layers]
    assert target.direct == {f"conv{each}" for each in direct}
    assert target.filters == tuple((small.layers[index - 1], channels) for index, channels in filters.items())
    assert target.needs_labels == ("loss" in text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("layer:net/LAST", "layer:conv2"),
        ("filter:net/LAST/1@max", "filter:net/conv2/1@max"),
        ("direction:net/LAST[0:2, 1:0]", "direction:conv2[0:2]"),
        ("class:BEE - 2*class:#0", "class:bee - 2*class:ant"),
        ("class:bee + class:Bee + loss", "2*class:bee + loss"),
        ("layer:LAST - 0.5*layer:conv2", "0.5*layer:conv2"),
    ],
)
def test_canonical_texts(small: Architecture, text: str, canonical: str) -> None:
    target = target_of(small, text)
    assert target.text == canonical
    assert target_of(small, canonical) == target


def test_terms(small: Architecture) -> None:
    first, second = small.layers
    target = target_of(small, "loss - 2*class:cat + 0.5*filter:net/conv1/1@0,1@post - direction:conv2[0:1, 2:3]@max")
    assert target.terms == (
        Term(1.0, Loss()),
        Term(-2.0, Logit(2)),
        Term(0.5, Maps(first, ((1, 1.0),), (0, 1), post=True)),
        Term(-1.0, Maps(second, ((0, 1.0), (2, 3.0)), "max")),
    )


@pytest.mark.parametrize(
    ("text", "error", "problem"),
    [
        ("class:yak", ExpressionError, "no class 'yak'"),
        ("loss - class:yak", ExpressionError, "no class 'yak'"),
        ("class:bee - class:BEE", ExpressionError, "it cancels out"),
        ("filter:other/conv1/0", NotInGraph, "its uids start with net/"),
        ("filter:net/conv1/2", NotInGraph, "layer conv1 has filters 0 to 1"),
        ("filter:net/conv1/01", NotInGraph, "there is no filter 'net/conv1/01'"),
        ("filter:net/conv1/0@2,0", ExpressionError, r"position \(2, 0\) lies outside the 2x2 map of net/conv1/0"),
        ("layer:conv", NotInGraph, "no layer 'conv'; did you mean conv"),
        ("layer:conv2@post", ExpressionError, "no pointwise activation alone consumes the maps of layer conv2"),
        ("filter:net/conv2/0@max@post", ExpressionError, "output 'filter:net/conv2/0@max@post' does not exist: no poi"),
        ("direction:LAST[0:1]@post", ExpressionError, "layer conv2; leave out @post"),
        ("loss + layer:conv2@post", ExpressionError, "leave out @post"),
        (
            "direction:conv2[0:1, 3:1]",
            NotInGraph,
            "there is no filter 3 in output 'direction:.*: layer conv2 has filter",
        ),
        ("direction:conv2[9:0, 1:1]", NotInGraph, "there is no filter 9"),
        ("direction:conv9[0:1]", NotInGraph, "no layer 'conv9'"),
        ("direction:conv1[0:1]@0,2", ExpressionError, r"position \(0, 2\) lies outside the 2x2 map"),
    ],
)
def test_refused(small: Architecture, text: str, error: type[Exception], problem: str) -> None:
    with pytest.raises(error, match=problem):
        target_of(small, text)


def test_outputs_made_by_hand_are_checked(small: Architecture) -> None:
    with pytest.raises(NotInGraph, match="there is no filter -1"):
        resolve(DirectionOutput("conv1", ((-1, 1.0),)), model="net", architecture=small, classes=CLASSES)
    twice = Combination(((1.0, LossOutput()), (0.5, ClassOutput("bee")), (1.0, LossOutput())))
    assert resolve(twice, model="net", architecture=small, classes=CLASSES).text == "2*loss + 0.5*class:bee"


@pytest.mark.parametrize("text", ["loss", "class:#0", "layer:conv1 - loss"])
def test_a_model_without_logits_has_no_loss(text: str) -> None:
    maps = nn.Sequential(nets.seeded(lambda: nn.Conv2d(1, 2, 1)), nn.ReLU())
    architecture = read_architecture(maps, (1, 2, 2))
    with pytest.raises(ExpressionError, match="has no logits"):
        target_of(architecture, text.replace("conv1", "0"))


def test_the_activation_must_be_alone_to_be_read() -> None:
    pooled = architecture_of(nn.Conv2d(1, 2, 1), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(2, 3, 1), nn.GELU())
    with pytest.raises(ExpressionError, match="maps of layer conv1"):
        target_of(pooled, "layer:conv1@post")
    assert target_of(pooled, "layer:conv2@post").last_activated


# --- on real passes ----------------------------------------------------------------------------------------------


def position(maps: Tensor, channel: int, row: int, column: int) -> Tensor:
    return maps[:, channel, row, column]


LITERAL: dict[str, Callable[[oracles.Run], Tensor]] = {
    "filter:net/conv1/1@post": lambda of: of.a["conv1"][:, 1].flatten(1).sum(1) / of.a["conv1"][0, 1].numel(),
    "filter:net/conv2/2@max@post": lambda of: of.a["conv2"][:, 2].flatten(1).amax(1),
    "filter:net/conv1/3@1,2@post": lambda of: position(of.a["conv1"], 3, 1, 2),
    "layer:conv2@post": lambda of: of.a["conv2"].flatten(1).sum(1) / of.a["conv2"][0].numel(),
    "direction:conv1[0:0.5, 2:-1]@2,1": lambda of: (
        0.5 * position(of.z["conv1"], 0, 2, 1) - position(of.z["conv1"], 2, 2, 1)
    ),
    "direction:conv2[0:2, 1:-3]@1,1@post - 0.25*filter:net/conv1/0@0,0": lambda of: (
        2 * position(of.a["conv2"], 0, 1, 1)
        - 3 * position(of.a["conv2"], 1, 1, 1)
        - 0.25 * position(of.z["conv1"], 0, 0, 0)
    ),
    "class:ant - 2*class:cat + filter:net/conv1/1@0,1 - filter:net/conv1/1@0,1@post": lambda of: (
        of.logits[:, 0] - 2 * of.logits[:, 2] + position(of.z["conv1"], 1, 0, 1) - position(of.a["conv1"], 1, 0, 1)
    ),
}


@pytest.mark.parametrize("text", LITERAL)
@pytest.mark.parametrize("name", ["plain", "in-place", "leaky in-place"])
def test_values_and_gradients_on_a_pass_as_far_as_the_target_reads(name: str, text: str) -> None:
    """In-place activations overwrite Z in the plain network; both maps may be read here all the same."""
    network = nets.make(name)
    assert isinstance(network, nn.Sequential)
    images = nets.images(3)
    of = oracles.run(network, images)
    expected = LITERAL[text](of)
    expected.sum().backward()  # type: ignore[no-untyped-call]
    architecture = read_architecture(network, nets.INPUT)
    architecture.module.double()
    target = target_of(architecture, text)
    recording = record(architecture, images.double(), last=target.last, last_activated=target.last_activated)
    found = target.values(recording, NO_LABELS)
    torch.testing.assert_close(found, expected)
    for layer, gradient in recording.gradients(found.sum())[0].items():
        torch.testing.assert_close(gradient, of.z[layer].grad)
