"""The table of docs/architectures.md: proofs that go on where they were stopped, and what the page says of them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models._api import get_model_builder, list_models

from benchmarks import replay_proof, replay_table
from benchmarks.replay_table import as_markdown, builders, everything, is_exact
from tests import nets

SCRIPT = Path(replay_table.__file__)


def _made(name: str, **facts: Any) -> dict[str, Any]:
    made = {"name": name, "input": 64, "layers": 3, "sums": 1, "gates": 2, "kernels": 12345, "outputError": 2e-6}
    return made | {"error": 0.0, "errorLayer": "conv1", "seconds": 1.5, "peakMiB": 900} | facts


# --- which builders ----------------------------------------------------------------------------------------------


def test_every_builder_is_here_but_the_transformers() -> None:
    """All of torchvision.models but those that are built of attention, by name."""
    every = list_models(module=torchvision.models)
    transformers = [name for name in every if name.startswith(("vit_", "swin_", "maxvit_"))]
    assert sorted(builders()) == sorted(set(every) - set(transformers))
    assert len(builders()) >= 68


def test_one_of_every_family_is_stored_in_neo4j() -> None:
    files = {get_model_builder(name).__module__ for name in builders()}
    stored = {get_model_builder(name).__module__ for name in replay_table.THROUGH_NEO4J}
    assert files - stored == {"torchvision.models.convnext"}  # its smallest has 26 million kernels
    assert "resnet50" in replay_table.THROUGH_NEO4J
    assert len(set(replay_table.THROUGH_NEO4J)) == len(replay_table.THROUGH_NEO4J)


# --- what is proven ----------------------------------------------------------------------------------------------


def test_what_a_builder_leaves_constant_is_drawn_anew() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU())
    kernels, bias = module.get_parameter("0.weight").detach().clone(), module.get_parameter("0.bias").detach().clone()
    replay_proof.drawn_anew(module)
    assert torch.equal(module.get_parameter("0.weight"), kernels)
    assert torch.equal(module.get_parameter("0.bias"), bias)
    scale, shift = module.get_parameter("1.weight").detach(), module.get_parameter("1.bias").detach()
    assert len(set(scale.tolist())) == len(set(shift.tolist())) == 4
    assert scale.min() >= 0.5
    assert scale.max() <= 1.5
    assert shift.abs().max() <= 0.1
    assert module.get_parameter("2.weight").item() != 0.25


def test_the_smallest_input_is_one_where_every_weight_counts() -> None:
    """Four halvings of 64 pixels leave 4 x 4: the corners of a 9x9 kernel with padding 4 see padding alone."""
    steps = [nn.MaxPool2d(2)] * 4
    assert replay_proof.smallest_input(nn.Sequential(*steps, nn.Conv2d(3, 1, 7, padding=3))) == 64
    assert replay_proof.smallest_input(nn.Sequential(*steps, nn.Conv2d(3, 1, 9, padding=4))) == 96
    assert replay_proof.smallest_input(nn.Sequential(*steps, nn.Conv2d(3, 1, 7))) == 128  # 96 pixels leave 6 x 6
    assert replay_proof.smallest_input(nn.Sequential(*steps, nn.Conv2d(3, 1, 3, padding=4, dilation=4))) == 96


def test_the_norms_keep_maps_of_images_and_noise_in_size() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)
    ).eval()
    images = nets.images(5, shape=(3, 12, 12), seed=7) * 1e6
    replay_proof.calibrated(module, images)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    for norm, before in ((module[1], module[:1]), (module[4], module[:4])):
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        with torch.no_grad():
            maps = before(torch.cat([images, noise]))
        torch.testing.assert_close(norm.running_var, maps.square().mean((0, 2, 3)))
        assert (norm.running_mean.abs() <= 0.31 * norm.running_var.sqrt()).all()
        assert len(set(norm.running_mean.tolist())) == norm.num_features
    assert not any(each.training or each._forward_pre_hooks for each in module.modules())


def test_a_proof_in_a_process_of_its_own() -> None:
    made = replay_table.proven("squeezenet1_1 rows")
    assert made.keys() >= _made("squeezenet1_1").keys()
    assert (made["name"], made["layers"], made["sums"], made["kernels"]) == ("squeezenet1_1", 26, 0, 738496)
    assert is_exact(made)


def test_a_builder_that_is_refused_or_breaks_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = replay_table.proven("vit_b_16 rows")
    assert "vit_b_16 is not a 2-D CNN classifier" in made["failed"]
    broken = tmp_path / "broken.py"
    broken.write_text("raise ValueError('no luck')", encoding="utf-8")
    monkeypatch.setattr(replay_table, "PROOF", broken)
    assert replay_table.proven("resnet18 rows") == {"name": "resnet18", "failed": "ValueError: no luck"}


# --- the run -----------------------------------------------------------------------------------------------------


def test_a_stopped_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, page, proven = tmp_path / "results.json", tmp_path / "page.md", []

    def prove(key: str) -> dict[str, Any]:
        proven.append(key)
        if len(proven) == 5:
            raise KeyboardInterrupt
        return {"name": "x", "failed": "out of memory"} if len(proven) == 3 else _made(key.partition(" ")[0])

    monkeypatch.setattr(replay_table, "proven", prove)
    monkeypatch.setattr(sys, "argv", ["replay_table", "--results", str(results), "--page", str(page)])
    with pytest.raises(KeyboardInterrupt):
        replay_table.main()
    assert not page.exists()
    assert list(json.loads(results.read_text(encoding="utf-8"))) == everything()[:4]
    replay_table.main()
    assert proven == [*everything()[:5], everything()[2], *everything()[4:]]  # what broke is tried again
    assert page.read_text(encoding="utf-8") == as_markdown(json.loads(results.read_text(encoding="utf-8")))


def test_the_page_counts_what_is_exact() -> None:
    found = {key: _made(key.partition(" ")[0]) for key in everything()}
    count = len(builders())
    assert f"**{count} of {count}** CNN builders of torchvision are exact: 100%." in as_markdown(found)
    found["vgg11 rows"] = {"name": "vgg11", "refused": "a | b is an operation that cannot be followed"}
    found["vgg13 rows"] |= {"error": 3e-3, "errorLayer": "features.0"}
    found["vgg16 neo4j"] |= {"error": 2e-4, "errorLayer": "features.2"}
    found["vgg19 rows"] |= {"error": 2e-4, "doubleError": 1e-12, "outputError": 4e-4, "outputDoubleError": 3e-9}
    found["vgg11_bn rows"] |= {"outputError": 4e-4, "outputDoubleError": 3e-4}
    page = as_markdown(found)
    assert f"**{count - 4} of {count}** CNN builders" in page
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in page.splitlines() if line.startswith("| ")}
    assert rows["vgg11"].endswith(r"refused: a \| b is an operation that cannot be followed | | | | |")
    assert "| not exact: features.0 | 3.0e-03 |" in rows["vgg13"]
    assert "| not exact: features.2 | 0 | 2.0e-04 |" in rows["vgg16"]
    assert "| rows | 2.0e-04 (double 1.0e-12) | | 4.0e-04 (double 3.0e-09) |" in rows["vgg19"].replace("|  |", "| |")
    assert "not exact: output" in rows["vgg11_bn"]
    assert "| alexnet | 64 | 3 | 1 | 2 | 12,345 | Neo4j | 0 | 0 | 2.0e-06 | 2 |" in page
    assert "swin_t" in page


@pytest.mark.slow
@pytest.mark.timeout(6 * 3600)
def test_at_least_95_percent_of_torchvisions_builders_are_exact(tmp_path: Path) -> None:
    """From rows, every one of them proven here and now."""
    results = tmp_path / "results.json"
    subprocess.run([sys.executable, str(SCRIPT), "--rows", "--results", str(results)], check=True)
    found = json.loads(results.read_text(encoding="utf-8"))
    assert list(found) == [f"{name} rows" for name in builders()]
    exact = [key for key, made in found.items() if is_exact(made)]
    assert len(exact) >= 0.95 * len(builders()), set(found) - set(exact)
