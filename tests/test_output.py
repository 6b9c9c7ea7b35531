"""Outputs: every form, its canonical text, and what is refused."""

import contextlib
import math
import time
from fractions import Fraction

import pytest
from torchvision.models import AlexNet_Weights

from viscnn.engine.output import (
    ClassOutput,
    Combination,
    DirectionOutput,
    FilterOutput,
    LayerOutput,
    LossOutput,
    Output,
    Unit,
    combined,
    parse_output,
    terms_of,
)
from viscnn.errors import ExpressionError
from viscnn.ingest.zoo import Recipe, build


@pytest.mark.parametrize(
    ("text", "output", "canonical"),
    [
        ("loss", LossOutput(), "loss"),
        (" Loss ", LossOutput(), "loss"),
        ("class:tiger", ClassOutput("tiger"), "class:tiger"),
        ("class:3", ClassOutput("3"), "class:3"),
        ("class:#517", ClassOutput("#517"), "class:#517"),
        ("class:Bernese mountain dog", ClassOutput("Bernese mountain dog"), 'class:"Bernese mountain dog"'),
        ('class: "Bernese mountain dog"', ClassOutput("Bernese mountain dog"), 'class:"Bernese mountain dog"'),
        ("class:tench, Tinca tinca", ClassOutput("tench, Tinca tinca"), 'class:"tench, Tinca tinca"'),
        ("class:yellow lady's slipper", ClassOutput("yellow lady's slipper"), 'class:"yellow lady\'s slipper"'),
        ("class:a:b", ClassOutput("a:b"), 'class:"a:b"'),
        ("class:me@home", ClassOutput("me@home"), 'class:"me@home"'),
        (r'class:"say \"hi\""', ClassOutput('say "hi"'), r'class:"say \"hi\""'),
        ("filter:alexnet/features.3/17", FilterOutput("alexnet/features.3/17"), "filter:alexnet/features.3/17"),
        ("filter:a/b/1@mean", FilterOutput("a/b/1", "mean"), "filter:a/b/1"),
        ("FILTER:a/b/1@MAX", FilterOutput("a/b/1", "max"), "filter:a/b/1@max"),
        ("filter:a/b/1@3,4", FilterOutput("a/b/1", (3, 4)), "filter:a/b/1@3,4"),
        ("filter: a/b/1 @ 3 , 4", FilterOutput("a/b/1", (3, 4)), "filter:a/b/1@3,4"),
        (
            "filter:vgg16-bn/features.3/17@max",
            FilterOutput("vgg16-bn/features.3/17", "max"),
            'filter:"vgg16-bn/features.3/17"@max',
        ),
        (
            'filter:"vgg16-bn/features.3/17"@3,4',
            FilterOutput("vgg16-bn/features.3/17", (3, 4)),
            'filter:"vgg16-bn/features.3/17"@3,4',
        ),
        ("filter:'a@b/c/1'", FilterOutput("a@b/c/1"), 'filter:"a@b/c/1"'),
        ("layer:features.3", LayerOutput("features.3"), "layer:features.3"),
        ("layer:conv1#2", LayerOutput("conv1#2"), "layer:conv1#2"),
        ("class:mother-in-law", ClassOutput("mother-in-law"), 'class:"mother-in-law"'),
        ("class:black - tan", ClassOutput("black - tan"), 'class:"black - tan"'),
        ("class:2 * 3", ClassOutput("2 * 3"), 'class:"2 * 3"'),
        ('class:"a - loss"', ClassOutput("a - loss"), 'class:"a - loss"'),
        ("class:\u00e9l\u00e8ve", ClassOutput("\u00e9l\u00e8ve"), "class:\u00e9l\u00e8ve"),
        ("filter:a/b/1@post", FilterOutput("a/b/1", post=True), "filter:a/b/1@post"),
        ("filter:a/b/1@max@post", FilterOutput("a/b/1", "max", True), "filter:a/b/1@max@post"),
        ("filter:a/b/1 @ POST @ 3,4", FilterOutput("a/b/1", (3, 4), True), "filter:a/b/1@3,4@post"),
        ("filter:'a-b/c/1'@0,0@post", FilterOutput("a-b/c/1", (0, 0), True), 'filter:"a-b/c/1"@0,0@post'),
        ("layer:conv1@post", LayerOutput("conv1", True), "layer:conv1@post"),
        ('layer:"my conv" @post', LayerOutput("my conv", True), 'layer:"my conv"@post'),
        ("layer:conv1@mean", LayerOutput("conv1"), "layer:conv1"),
        (
            "direction:conv2[0:0.5, 7:-1]",
            DirectionOutput("conv2", ((0, 0.5), (7, -1.0))),
            "direction:conv2[0:0.5, 7:-1]",
        ),
        (
            "Direction: features.3 [ 7 : 2 ,0:+1e-7 ] @ max @ post",
            DirectionOutput("features.3", ((7, 2.0), (0, 1e-7)), "max", True),
            "direction:features.3[7:2, 0:1e-07]@max@post",
        ),
        (
            'direction:"my conv"[3:.25]@1,2',
            DirectionOutput("my conv", ((3, 0.25),), (1, 2)),
            'direction:"my conv"[3:0.25]@1,2',
        ),
        (
            "direction:my-conv[3:1, 4:0]",
            DirectionOutput("my-conv", ((3, 1.0), (4, 0.0))),
            'direction:"my-conv"[3:1, 4:0]',
        ),
    ],
)
def test_forms(text: str, output: Output, canonical: str) -> None:
    assert parse_output(text) == output
    assert str(output) == canonical
    assert parse_output(canonical) == output


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "none of the known outputs"),
        ("lost", "none of the known outputs"),
        ("loss:", "none of the known outputs"),
        ("tiger", "none of the known outputs"),
        ("neuron:a/b/1", "none of the known outputs"),
        ("class:", "the name is missing"),
        ('class:""', "the name is missing"),
        ("layer: ", "the name is missing"),
        ("filter:", "the uid is missing"),
        ("filter:@max", "the uid is missing"),
        ("filter:a/b/1@", "'' after @"),
        ("filter:a/b/1@min", "'min' after @"),
        ("filter:a/b/1@3", "'3' after @"),
        ("filter:a/b/1@-1,2", "'-1,2' after @"),
        ("filter:a/b/1@1.5,2", "'1.5,2' after @"),
        ("filter:a/b/1@1,2,3", "'1,2,3' after @"),
        ("filter:a@b/c/1@max", "a uid with @ is written in quotes"),
        ('filter:"a/b/1', "its quote is not closed"),
        ("class:'x", "its quote is not closed"),
        ('class:"x" y', "'y' follows the quoted name"),
        ('filter:"a/b/1" max', "'max' follows the quoted uid"),
    ],
)
def test_refused(text: str, problem: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_output(text)
    message = str(caught.value)
    assert repr(text) in message
    assert problem in message
    assert "loss, class:NAME, filter:UID, filter:UID@max, filter:UID@ROW,COLUMN, layer:NAME or direction:" in message
    assert "direction:LAYER[0:0.5, 7:-1]" in message


THREE, FIVE, LOSS = ClassOutput("three"), ClassOutput("five"), LossOutput()


@pytest.mark.parametrize(
    ("text", "terms", "canonical"),
    [
        ("class:three - class:five", [(1.0, THREE), (-1.0, FIVE)], "class:three - class:five"),
        ("-class:three", [(-1.0, THREE)], "-class:three"),
        ("- 2 * class:three", [(-2.0, THREE)], "-2*class:three"),
        ("2 loss", [(2.0, LOSS)], "2*loss"),
        ("+0.50*LOSS", [(0.5, LOSS)], "0.5*loss"),
        ("loss-class:five", [(1.0, LOSS), (-1.0, FIVE)], "loss - class:five"),
        ("loss - -3*class:five", [(1.0, LOSS), (3.0, FIVE)], "loss + 3*class:five"),
        (
            'class:"three"-class:"five"',
            [(1.0, THREE), (-1.0, FIVE)],
            "class:three - class:five",
        ),
        (
            "0.5*filter:mnist/conv4/7@max + 2*layer:conv2 - loss",
            [(0.5, FilterOutput("mnist/conv4/7", "max")), (2.0, LayerOutput("conv2")), (-1.0, LOSS)],
            "0.5*filter:mnist/conv4/7@max + 2*layer:conv2 - loss",
        ),
        (
            "class:Border Collie  +  1e-7*class:black-and-tan",
            [(1.0, ClassOutput("Border Collie")), (1e-7, ClassOutput("black-and-tan"))],
            'class:"Border Collie" + 1e-07*class:"black-and-tan"',
        ),
        (
            "filter:vgg16-bn/features.3/17@3,4@post - filter:vgg16-bn/features.3/18",
            [
                (1.0, FilterOutput("vgg16-bn/features.3/17", (3, 4), True)),
                (-1.0, FilterOutput("vgg16-bn/features.3/18")),
            ],
            'filter:"vgg16-bn/features.3/17"@3,4@post - filter:"vgg16-bn/features.3/18"',
        ),
        (
            "direction:conv2[0:1, 1:-1] - 3*class:a + b",
            [(1.0, DirectionOutput("conv2", ((0, 1.0), (1, -1.0)))), (-3.0, ClassOutput("a + b"))],
            'direction:conv2[0:1, 1:-1] - 3*class:"a + b"',
        ),
        ('class:"three - class:five" - loss', [(1.0, ClassOutput("three - class:five")), (-1.0, LOSS)], None),
        ("class:three + loss + 2*class:three", [(3.0, THREE), (1.0, LOSS)], "3*class:three + loss"),
        ("class:three + loss - class:three", [(1.0, LOSS)], "loss"),
        ("0.1*loss + 0.2*loss - 0.3*loss + class:five", [(1.0, FIVE)], "class:five"),
        ("1000000000000000*loss", [(1e15, LOSS)], "1000000000000000.0*loss"),
        ("1e16*loss - 3e-30*class:five", [(1e16, LOSS), (-3e-30, FIVE)], "1e+16*loss - 3e-30*class:five"),
    ],
)
def test_combinations(text: str, terms: list[tuple[float, Unit]], canonical: str | None) -> None:
    output = parse_output(text)
    assert terms_of(output) == tuple(terms)
    assert str(output) == (text if canonical is None else canonical)
    assert parse_output(str(output)) == output


def test_one_output_of_weight_one_is_no_combination() -> None:
    assert parse_output("1*class:three") == THREE
    assert combined([(Fraction(1, 2), THREE), (0.5, THREE)], "") == THREE
    assert parse_output("2*loss") == Combination(((2.0, LossOutput()),))


def test_names_of_known_classes_need_no_quotes() -> None:
    names = [*build(Recipe("mnist")).classes, *build(Recipe("cifar10")).classes]
    names += AlexNet_Weights.DEFAULT.meta["categories"]
    assert len(names) == 1020
    for name, other in zip(names, [*names[1:], "loss"], strict=True):
        assert parse_output(f"class:{name}") == ClassOutput(name)
        assert parse_output(str(ClassOutput(name))) == ClassOutput(name)
        contrast = parse_output(f"class:{name} - 2*class:{other}")
        assert terms_of(contrast) == ((1.0, ClassOutput(name)), (-2.0, ClassOutput(other)))
        assert parse_output(str(contrast)) == contrast


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("layer:conv1@max", "a layer has no place"),
        ("layer:conv1@last", "'last' after @ is not mean, max, ROW,COLUMN or post"),
        ("filter:a/b/1@max@3,4", "a place stands twice"),
        ("filter:a/b/1@post@post", "@post stands twice"),
        ('layer:"conv1"post', "'post' follows the quoted name"),
        ("direction:conv2", "the weights are missing"),
        ("direction:conv2@max", "the weights are missing"),
        ('direction:"conv2"@max', "the weights are missing"),
        ("direction:[0:1]", "the name is missing"),
        ("direction:conv2[0:1", "the bracket of its weights is not closed"),
        ("direction:conv2[]", "'' is not CHANNEL:WEIGHT"),
        ("direction:conv2[0:1,]", "'' is not CHANNEL:WEIGHT"),
        ("direction:conv2[3]", "'3' is not CHANNEL:WEIGHT"),
        ("direction:conv2[-1:1]", "'-1:1' is not CHANNEL:WEIGHT"),
        ("direction:conv2[0:x]", "'x' is not a finite number"),
        ("direction:conv2[0:nan]", "'nan' is not a finite number"),
        ("direction:conv2[0:-inf]", "'-inf' is not a finite number"),
        ("direction:conv2[0:1e400]", "the number 1e400 is too long, too large or too small"),
        ("direction:conv2[0:1000e29]", "the weight of channel 0 is out of range"),
        ("direction:conv2[0:1, 3:2, 0:1]", "channel 0 stands twice"),
        ("direction:conv2[0:0, 3:-0.0]", "all weights are zero"),
        ("direction:conv2[0:1]max", "'max' follows the bracket"),
        ("direction:conv2[0:1]@min", "'min' after @"),
        ("loss + ", "'+' follows loss"),
        ("loss - tiger", "'- tiger' follows loss"),
        ("2*tiger", "none of the known outputs"),
        ("2*", "none of the known outputs"),
        ("2", "none of the known outputs"),
        ("1e31*loss", "the number 1e31 is too long, too large or too small"),
        (f"0.{'3' * 40}*loss", "too long, too large or too small"),
        ("1000e29*loss", "the coefficient of loss is out of range"),
        ("loss - loss", "it cancels out, every coefficient is 0"),
        ("0*class:three", "it cancels out"),
        ("class:three - class:", "the name is missing"),
        ("class: - loss", "the name is missing"),
        ('class:three - class:"five', "its quote is not closed"),
        ("x" * 30_000, "it has 30000 characters, at most 20000 are read"),
    ],
)
def test_refused_forms(text: str, problem: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_output(text)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ((), "all weights are zero"),
        (((0, math.nan),), "the weight nan of channel 0"),
        (((1, 1.0), (0, math.inf)), "the weight inf of channel 0"),
        (((0, 1.0), (0, 2.0)), "channel 0 stands twice"),
        (((0, 1e31),), "out of range"),
    ],
)
def test_directions_made_by_hand_are_checked(weights: tuple[tuple[int, float], ...], problem: str) -> None:
    with pytest.raises(ExpressionError, match=problem):
        DirectionOutput("conv2", weights)


def test_a_coefficient_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ExpressionError, match="the coefficient inf of loss is not a finite number"):
        combined([(math.inf, LossOutput())], "loss")


@pytest.mark.parametrize("text", ["class:" + " " * 19_000 + "a", "9" * 19_000, "loss " + " - 9" * 4_500, "@" * 19_000])
def test_long_texts_are_read_in_no_time(text: str) -> None:
    before = time.process_time()
    with contextlib.suppress(ExpressionError):
        parse_output(text)
    assert time.process_time() - before < 1
