"""`viscnn zoo` and `VISCNN.zoo`: the names by source, and what of them is on this machine."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from viscnn import VISCNN
from viscnn.cli import app
from viscnn.config import data_folder
from viscnn.errors import ModelError
from viscnn.ingest.zoo import BUNDLED, DATA


def test_all_sources_as_one_json_object() -> None:
    result = CliRunner().invoke(app, ["zoo", "--json"])
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    found = json.loads(result.stdout)
    assert found == VISCNN.zoo()
    assert [each["source"] for each in found["sources"]] == ["bundled", "data", "torchvision", "timm"]
    for source in found["sources"]:
        assert source["models"] == sum(each["source"] == source["source"] for each in found["models"])
    by_name = {each["name"]: each for each in found["models"]}
    assert {*BUNDLED, *DATA, "alexnet", "resnet50"} <= by_name.keys()
    assert by_name["mnist"] == {
        "name": "mnist",
        "source": "bundled",
        "inputShape": [1, 28, 28],
        "ready": True,
        "weights": "in the package",
    }
    assert (by_name["inception_v3"]["inputShape"], by_name["inception_v3"]["source"]) == ([3, 299, 299], "torchvision")
    assert not {"vit_b_16", "fasterrcnn_resnet50_fpn", "quantized_resnet18", "r3d_18"} & by_name.keys()


def test_the_names_of_one_source() -> None:
    result = CliRunner().invoke(app, ["zoo", "bundled"])
    assert result.exit_code == 0, result.output
    assert "cifar10" in result.stdout
    assert "alexnet" not in result.stdout
    assert "note: bundled: 2 models" in result.stderr
    assert [each["name"] for each in VISCNN.zoo("bundled")["models"]] == ["mnist", "cifar10"]


def test_timm_is_counted_and_listed_when_asked_for() -> None:
    pytest.importorskip("timm")
    everything = CliRunner().invoke(app, ["zoo"])
    assert "timm:" not in everything.stdout
    assert "viscnn zoo timm lists those of timm" in everything.stderr
    assert "timm:resnet18.a1_in1k" in {each["name"] for each in VISCNN.zoo("timm")["models"]}


def test_where_timm_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    assert VISCNN.zoo("timm") == {
        "sources": [
            {"source": "timm", "atHand": "timm is not installed: pip install 'viscnn[timm]'", "models": 0},
        ],
        "models": [],
    }


def test_an_unknown_source() -> None:
    with pytest.raises(ModelError, match="no models come from 'tim'; use one of bundled, data, torchvision, timm"):
        VISCNN.zoo("tim")
    result = CliRunner().invoke(app, ["zoo", "tim", "--json"])
    assert (result.exit_code, json.loads(result.stdout)["exitCode"]) == (2, 2)


def test_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = data_folder()
    if folder is not None:
        for each in VISCNN.zoo("data")["models"]:
            assert each["ready"] == (folder / DATA[each["name"]].file).is_file()
    monkeypatch.setenv("VISCNN_DATA", str(tmp_path))
    file = tmp_path / DATA["vgg16-trunk"].file
    file.parent.mkdir()
    file.touch()
    models = {each["name"]: each for each in VISCNN.zoo("data")["models"]}
    assert [name for name, each in models.items() if each["ready"]] == ["vgg16-trunk"]
    assert models["googlenet-bvlc"]["weights"] == "missing: $VISCNN_DATA/googlenet_bvlc/googlenet_fp16.npz"
