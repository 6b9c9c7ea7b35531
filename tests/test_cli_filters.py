"""Commands about single filters: what `viscnn filter` tells, and `viscnn intervene` against the API."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests import toy
from tests.test_cli import Cli
from viscnn import VISCNN
from viscnn.config import Connection
from viscnn.engine.visualize import settings

MODEL = "told"
UID = f"{MODEL}/conv1/2"


@pytest.fixture(scope="module")
def v(server: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VISCNN]:
    with toy.ingested(server, MODEL, toy.split_pictures(tmp_path_factory.mktemp("told"))) as session:
        session.query("ant", model=MODEL)
        session.project(MODEL)
        yield session


def test_a_filter_is_told_both_ways(v: VISCNN) -> None:
    found = Cli().json("filter", UID, "--top", "2")
    assert found["kernels"] == v.incoming_kernels(UID, limit=2)
    assert found["outgoing"] == v.outgoing_kernels(UID, limit=2)
    assert found["scores"] == v.filter_scores(UID)
    assert found["classProfile"] == v.class_profile(UID)
    assert found["similar"] == v.similar_filters(UID)
    shown = Cli().text("filter", UID)
    for part in (f"into {UID}", f"from {UID}", "like it", f"{MODEL}/conv2/0", f"{MODEL}/input/gray"):
        assert part in shown


def test_interventions_say_what_changes(v: VISCNN, tmp_path: Path) -> None:
    path = v.image_paths(MODEL)[0]
    names = {UID: 0.0, f"{MODEL}/conv1/1 -> {MODEL}/conv2/0": 2.5}
    pairs = [f"{name}={factor}" for name, factor in names.items()]
    found = Cli().json("intervene", MODEL, path, *pairs, "--output", "class:bee")
    wanted = v.intervene(MODEL, path, names, output="class:bee")
    assert (found["before"], found["after"]) == (wanted.before, wanted.after)
    assert found["factors"] == names
    assert wanted.logits is not None
    changes = wanted.logits[1] - wanted.logits[0]
    assert [each["change"] for each in found["logits"]] == sorted(changes.tolist(), key=lambda each: -abs(each))
    copy = tmp_path / "my own.png"
    Image.fromarray(np.asarray(v.image(MODEL, path))).save(copy)
    assert Cli().json("intervene", MODEL, str(copy), *pairs, "--output", "class:bee")["after"] == wanted.after
    assert f"class:bee: {wanted.before:.6g} as it is" in Cli().text(
        "intervene", MODEL, path, *pairs, "--output", "class:bee"
    )


def test_the_loss_is_that_of_the_image_s_class_or_says_that_it_is_predicted(v: VISCNN, tmp_path: Path) -> None:
    wrong = 0
    for number, path in enumerate(v.image_paths(MODEL)):
        label = Path(path).parent.name  # ant, bee or cat: not the order of the model's classes
        found = v.intervene(MODEL, path, {UID: 0.0})
        assert found.logits is not None
        loss = torch.nn.functional.cross_entropy(
            torch.tensor(found.logits), torch.tensor([toy.CLASSES.index(label)] * 2)
        )
        assert (found.before + found.after) / 2 == pytest.approx(float(loss), abs=1e-5)
        assert (found.target, found.label, found.predicted) == (f"loss (class {label})", label, False)
        predicted = toy.CLASSES[int(found.logits[0].argmax())]
        wrong += predicted != label
        if number == 0 or predicted != label:
            told = Cli().json("intervene", MODEL, path, f"{UID}=0")
            assert (told["label"], told["predicted"], told["before"]) == (label, False, found.before)
            copy = tmp_path / "of no class.png"
            Image.fromarray(np.asarray(v.image(MODEL, path))).save(copy)
            said = Cli().text("intervene", MODEL, str(copy), f"{UID}=0")
            assert f"loss (predicted class {predicted}): " in said
    assert wrong > 0


def test_a_rendered_visualisation_is_an_input(v: VISCNN, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "STEPS", 7)  # no other test has rendered these: the cache is theirs too
    uid = f"{MODEL}/conv2/1"
    asked = ("intervene", MODEL, f"visualization:{uid}", f"{UID}=0", "--output", f"filter:{uid}")
    assert f'viscnn visualize {MODEL} --filter "{uid}"' in Cli().mistake(*asked)
    rendered = v.visualize(uid)
    found = Cli().json(*asked)
    assert found["before"] == pytest.approx(rendered.activation, rel=1e-5)
    assert found["after"] == v.intervene(MODEL, rendered, {UID: 0.0}, output=f"filter:{uid}").after


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("{path}", f"{UID}=x"), "is not NAME=FACTOR"),
        (("{path}", UID), "is not NAME=FACTOR"),
        (("{path}", f"{MODEL}/conv1/9=0"), "has filters 0 to 3, and no '9'"),
        (("{path}", f"{MODEL}/conv1/1->{MODEL}/conv1/2=0"), "no kernel leads from"),
        (("{path}", f"{UID}=nan"), "factor nan"),
        (("{path}", f"{UID}=0", "--output", "class:ape"), "ape"),
        (("no/such.png", f"{UID}=0"), "no/such.png"),
        (("{text}", f"{UID}=0"), "not an image"),
    ],
)
def test_mistakes_are_one_line(v: VISCNN, tmp_path: Path, arguments: tuple[str, ...], named: str) -> None:
    text = tmp_path / "text.png"
    text.write_text("no picture")
    filled = [each.format(path=v.image_paths(MODEL)[0], text=text) for each in arguments]
    assert named in Cli().mistake("intervene", MODEL, *filled)
