"""What `viscnn doctor` says of this machine, and of machines on which something is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.sources import ROOT
from viscnn import __version__
from viscnn.config import Connection
from viscnn.doctor import Report, Row, report
from viscnn.engine.edge_products import tiers
from viscnn.engine.loading import WORTHWHILE
from viscnn.reports import doctor_json, doctor_text

NAMES = (
    *("viscnn", "python", "torch", "numba", "triton", "cpu", "scores on cpu", "scores on cuda", "device", "compiler"),
    *("images", "java", "neo4j jars", "neo4j", "home", "cache", "data"),
)


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VISCNN_TIER", "VISCNN_DEVICE", "VISCNN_WORKERS", "VISCNN_DATA"):
        monkeypatch.delenv(name, raising=False)


def row(name: str, found: Report | None = None) -> Row:
    (one,) = [each for each in (found or report()).rows if each.name == name]
    return one


def test_this_machine(server: Connection) -> None:
    found = report()
    assert tuple(each.name for each in found.rows) == NAMES
    assert {each.state for each in found.rows} <= {"ok", "warn", "missing"}
    assert all(each.detail and "\n" not in each.detail for each in found.rows)
    assert row("viscnn", found) == Row("viscnn", "ok", __version__)
    assert row("torch", found) == Row("torch", "ok", torch.__version__)
    assert row("neo4j", found).state == "ok"
    assert server.uri in row("neo4j", found).detail
    assert server.password not in repr(found)
    assert row("neo4j jars", found).state == "ok"
    assert row("java", found).state == "ok"
    chosen = next(tier.name for tier in tiers() if tier.device == "cpu" and tier.chosen)
    assert row("scores on cpu", found).detail.startswith(f"{chosen} (")
    assert (row("scores on cuda", found).state == "missing") == (not torch.cuda.is_available())


def test_as_json_and_as_text() -> None:
    found = Report((Row("a", "ok", "1"), Row("long name", "missing", "none"), Row("b", "ok", "2")))
    assert json.loads(json.dumps(doctor_json(found))) == {
        "rows": [
            {"name": "a", "state": "ok", "detail": "1"},
            {"name": "long name", "state": "missing", "detail": "none"},
            {"name": "b", "state": "ok", "detail": "2"},
        ],
        "ok": 2,
        "warn": 0,
        "missing": 1,
    }
    assert doctor_text(found) == "ok       a          1\nmissing  long name  none\nok       b          2"


def test_a_slower_tier_is_a_warning_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISCNN_TIER", "torch")
    found = row("scores on cpu")
    assert found.state == "warn"
    assert found.detail.startswith("torch (")
    assert "not native (" in found.detail
    assert "not numba (" in found.detail
    monkeypatch.setenv("VISCNN_TIER", "cobol")
    found = row("scores on cpu")
    assert found.state == "warn"
    assert "VISCNN_TIER='cobol' is no tier" in found.detail


def test_settings_that_name_nothing_are_warnings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VISCNN_DEVICE", "abacus")
    monkeypatch.setenv("VISCNN_WORKERS", "many")
    monkeypatch.setenv("VISCNN_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("NEO4J_URI", "bolt://127.0.0.1:1")
    monkeypatch.setenv("NEO4J_PASSWORD", "secret-of-another")
    found = report()
    assert tuple(each.name for each in found.rows) == NAMES, "with an address the password is no puzzle"
    wrong = {"device": "abacus", "images": "'many'", "data": str(tmp_path / "none"), "neo4j": "bolt://127.0.0.1:1"}
    for name, value in wrong.items():
        assert row(name, found).state == "warn"
        assert value in row(name, found).detail
    assert "secret-of-another" not in repr(found)


def test_a_password_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO4J_PASSWORD", "secret-of-another")
    found = row("environment")
    assert found.state == "warn"
    assert found.detail.startswith("NEO4J_PASSWORD is set but ignored, because NEO4J_URI is not")
    monkeypatch.setenv("NEO4J_USERNAME", "me")
    assert row("environment").detail.startswith("NEO4J_USERNAME, NEO4J_PASSWORD are set but ignored")


def test_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("VISCNN_HOME", str(home))
    monkeypatch.setenv("VISCNN_JARS", str(home / "jars"))
    found = report()
    assert row("home", found) == Row("home", "ok", f"{home}, not created yet")
    assert not home.exists(), "a doctor changes nothing"
    assert row("neo4j", found).state == row("neo4j jars", found).state == "missing"
    assert "viscnn server start" in row("neo4j", found).detail
    (home / "cache").mkdir(parents=True)
    (home / "cache" / "scores.npz").write_bytes(bytes(70_000))
    (home / "registry.json").write_bytes(bytes(30_000))
    found = report()
    assert row("home", found).detail.startswith(f"{home}, 100.0 kB, ")
    assert row("cache", found).detail.startswith(f"{home / 'cache'}, 70.0 kB, ")
    monkeypatch.setenv("VISCNN_HOME", str(home / "registry.json" / "below"))
    found = report()
    assert row("home", found).state == "warn"
    assert "set VISCNN_HOME to a writable folder" in row("home", found).detail


def test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viscnn.engine.loading.cpus", lambda: 4)
    assert f"workers that decode: 3 for {WORTHWHILE:,} images" in row("images").detail
    monkeypatch.setattr("viscnn.engine.loading.cpus", lambda: 1)
    assert "one CPU" in row("images").detail
    monkeypatch.setenv("VISCNN_WORKERS", "6")
    assert row("images").detail == "workers that decode: 6 (VISCNN_WORKERS)"


def test_a_broken_package_is_one_warning(tmp_path: Path) -> None:
    (tmp_path / "numba.py").write_text("raise RuntimeError('built for\\nanother Python')")
    code = "from viscnn.doctor import report; from viscnn.reports import doctor_text; print(doctor_text(report()))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = {line[9:].split("  ")[0].strip(): line for line in done.stdout.splitlines()}
    assert tuple(lines) == NAMES
    assert lines["numba"].startswith("warn ")
    assert lines["numba"].endswith("RuntimeError: built for another Python")
    assert lines["torch"].startswith("ok ")
