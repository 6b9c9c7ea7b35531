"""Queries and ingests that cannot be: one clear line, and a real graph that is left exactly as it was."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import toy
from viscnn import VISCNN
from viscnn.config import Connection
from viscnn.errors import ExpressionError, ImagesError, InputError, ModelError, NotInGraph, UnsupportedModel
from viscnn.graph import Graph
from viscnn.ingest.bundled import nets as bundled

MODEL = "bad-toy"


@pytest.fixture(scope="module")
def v(server: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VISCNN]:
    folder = toy.split_pictures(tmp_path_factory.mktemp("bad"))
    with toy.ingested(server, MODEL, folder, importance=False) as opened:
        yield opened


BAD_QUERIES: dict[str, tuple[dict[str, Any], type[InputError], str]] = {
    "syntax": ({"text": "cat - "}, ExpressionError, "input expression"),
    "empty": ({"text": " "}, ExpressionError, "is empty"),
    "unknown name": ({"text": "caat"}, ExpressionError, "did you mean cat"),
    "not linear": ({"text": "cat * bee"}, ExpressionError, "input expression"),
    "cancels out": ({"text": "cat - Cat"}, ExpressionError, "cancel"),
    "criterion": ({"text": "cat", "criterion": "tailor"}, ExpressionError, "did you mean taylor"),
    "output": ({"text": "cat", "output": "los"}, ExpressionError, "output 'los'"),
    "class": ({"text": "cat", "output": "class:caat"}, ExpressionError, "did you mean cat"),
    "filter": ({"text": "cat", "output": f"filter:{MODEL}/conv2/3"}, NotInGraph, "filters 0 to 2"),
    "filter, odd digit": ({"text": "cat", "output": f"filter:{MODEL}/conv2/²"}, NotInGraph, "there is no filter"),
    "filter, leading zero": ({"text": "cat", "output": f"filter:{MODEL}/conv2/01"}, NotInGraph, "there is no filter"),
    "layer": ({"text": "cat", "output": f"filter:{MODEL}/conv3/0"}, NotInGraph, "did you mean conv"),
    "other model": ({"text": "cat", "output": "filter:mnist/conv2/0"}, NotInGraph, f"start with {MODEL}/"),
    "position": ({"text": "cat", "output": f"filter:{MODEL}/conv2/0@4,0"}, ExpressionError, "outside the 4x4 map"),
    "max images": ({"text": "cat", "max_images": -1}, ImagesError, "at least 1"),
    "model": ({"text": "cat", "model": "bad-tyo"}, NotInGraph, "did you mean bad-toy"),
    "images": ({"text": "cat", "images": "/nowhere/at/all"}, ImagesError, "/nowhere/at/all"),
}


@pytest.mark.parametrize("name", BAD_QUERIES)
def test_a_bad_query_changes_nothing(v: VISCNN, graph: Graph, name: str) -> None:
    given, kind, message = BAD_QUERIES[name]
    before = toy.snapshot(graph)
    with pytest.raises(kind, match=message) as caught:
        v.query(**({"model": MODEL} | given))
    assert "\n" not in str(caught.value)
    assert toy.snapshot(graph) == before


def test_an_image_set_without_scoring_images_is_refused(v: VISCNN, graph: Graph, tmp_path: Path) -> None:
    pictures = toy.write_pictures(tmp_path, counts={"score/cat": 1, "check/bee": 2, "score/ant": 0, "check/ant": 0})
    before = toy.snapshot(graph)
    for text, message in (("bee", "none of its 2 images is in the score part"), ("ant - cat", "it is empty")):
        with pytest.raises(ImagesError, match=message):
            v.query(text, model=MODEL, images=str(pictures))
    assert toy.snapshot(graph) == before


def test_pictures_that_are_none_are_left_out_or_refused(v: VISCNN, graph: Graph, tmp_path: Path) -> None:
    pictures = toy.write_pictures(tmp_path / "some", counts={"score/cat": 3, "check/cat": 1})
    (pictures / "score" / "cat" / "000.png").write_bytes(b"not a picture")
    assert v.query("cat", model=MODEL, images=str(pictures), activate=False).images == 2
    broken = toy.write_pictures(tmp_path / "all", counts={"score/cat": 2})
    for path in (broken / "score" / "cat").iterdir():
        path.write_bytes(b"not a picture")
    before = toy.snapshot(graph)
    with pytest.raises(ImagesError, match="no usable images"):
        v.query("cat", model=MODEL, images=str(broken))
    assert toy.snapshot(graph) == before


BAD_MODELS = """
import torch
from torch import nn

class Squared(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(1, 1, 3, padding=1)
    def forward(self, x):
        z = self.c(x)
        return z * z
"""


@pytest.mark.parametrize(
    ("source", "settings", "kind", "message"),
    [
        ("mnits", {}, ModelError, "did you mean mnist"),
        ("{file}:nothing", {}, ModelError, "has no function 'nothing'"),
        ("{file}:Squared", {"input_shape": (1, 8, 8)}, UnsupportedModel, "'mul'"),
        ("mnist", {"name": "run-bad", "weights": "{wrong}"}, ModelError, "conv1.weight has shape"),
        ("mnist", {"name": "run-bad", "weights": "{evil}"}, ModelError, "refused"),
        ("mnist", {"name": "run-bad", "images": "/nowhere/at/all"}, ImagesError, "/nowhere/at/all"),
        ("mnist", {"name": "run-bad", "input_shape": (3, 28, 28)}, ModelError, "--mean needs 3"),
        ("mnist", {"name": "run bad"}, ModelError, "must be of letters"),
    ],
)
def test_a_bad_ingest_changes_nothing(
    v: VISCNN, graph: Graph, tmp_path: Path, source: str, settings: dict[str, Any], kind: type[InputError], message: str
) -> None:
    (tmp_path / "bad.py").write_text(BAD_MODELS, encoding="utf-8")
    wrong = bundled.mnist().state_dict()
    torch.save(wrong | {"conv1.weight": torch.zeros(1, 1, 1, 1)}, tmp_path / "wrong.pt")
    torch.save({"conv1.weight": Path("x")}, tmp_path / "evil.pt")
    places = {"file": tmp_path / "bad.py", "wrong": tmp_path / "wrong.pt", "evil": tmp_path / "evil.pt"}
    given: dict[str, Any] = {
        key: each.format(**places) if isinstance(each, str) else each for key, each in settings.items()
    }
    before = toy.snapshot(graph)
    with pytest.raises(kind, match=message) as caught:
        v.ingest(source.format(**places), **given)
    assert "\n" not in str(caught.value)
    assert toy.snapshot(graph) == before
