"""Outputs: every form, its canonical text, and what is refused."""

import pytest

from viscnn.engine.output import ClassOutput, FilterOutput, LayerOutput, LossOutput, Output, parse_output
from viscnn.errors import ExpressionError


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
    assert "loss, class:NAME, filter:UID, filter:UID@max, filter:UID@ROW,COLUMN or layer:NAME" in message
