"""What `benchmarks/projection.py` compares with is what it says, and smoothing is better than it, as docs say."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import projection

POINTS = np.random.default_rng(0).normal(size=(30, 2))


def test_the_papers_force_field_is_that_of_its_tool() -> None:
    """`get_graph_positions.py`: point after point, every force on the layout as it was before the step."""
    now = (POINTS - POINTS.mean(axis=0)) / np.abs(POINTS).max()
    n = len(now)
    for step in range(99):
        distances = {(i, j): float(np.hypot(*(now[i] - now[j]))) for i in range(n) for j in range(n) if i != j}
        mean, least = sum(distances.values()) / len(distances), min(distances.values())
        forces = (now.mean(axis=0) - now) * n * (least / 2)
        for (i, j), distance in distances.items():
            forces[i] += mean / distance * (now[i] - now[j]) / distance
        now = now + min(1e-4 + step * 1e-5, 1e-3) * forces
    now -= now.mean(axis=0)
    np.testing.assert_allclose(projection.paper(POINTS), now / np.hypot(*now.T).max(), atol=1e-4)


def test_the_assignment_is_better_than_any_swap() -> None:
    places = projection.assignment(POINTS)
    scaled = (POINTS - POINTS.mean(axis=0)) / POINTS.std()
    cost = ((scaled[:, None] - places) ** 2).sum(axis=2)
    kept = cost.diagonal()
    assert (cost + cost.T - kept - kept[:, None]).min() >= -1e-9


def test_ours_keeps_more_neighbours_than_the_alternatives() -> None:
    """On the kernels of the bundled CIFAR-10 net, and more evenly than the paper's."""
    vectors = projection.kernels(projection.bundle_of("cifar10"))
    rows = {row["smoothing"]: row for row in projection.smoothing_rows(vectors, "mds")}
    for measure in ("trustworthiness", "continuity"):
        found = {name: row[measure] for name, row in rows.items()}
        assert found["ours"] > found["paper"] > found["assignment"]
    assert rows["ours"]["unevenness"] < 1e-9
    assert rows["paper"]["unevenness"] > 0.05


def test_the_printed_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("VISCNN_HOME", str(tmp_path))
    arguments = ["mnist", "--methods", "pca", "--per-class", "2", "--scored", "4"]
    projection.main(arguments)
    said = capsys.readouterr().out.splitlines()
    projection.main([*arguments, "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert len(said) == len(rows) == 2 * (len(projection.SMOOTHED) + 1)
    for row in rows:
        assert row["net"] == "mnist"
        if row["table"] == "rotation":
            assert row["ours"] <= row["greedy"] <= row["unrotated"]
        else:
            assert 0.5 < row["trustworthiness"] <= 1
