"""A pass over images that is stopped: nothing is read or counted twice, whatever stopped it; memory stays flat."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from tests import toy
from tests.reads import Reads, stopped_files, stopping, use_small_batches
from viscnn.engine import streaming
from viscnn.engine.batch import Batch
from viscnn.engine.bundle import Bundle
from viscnn.engine.criteria import CRITERIA, Criterion, Scores
from viscnn.engine.output import parse_output
from viscnn.engine.scoring import Job, Running, score_jobs
from viscnn.engine.streaming import run_through
from viscnn.engine.sums import SetScores, read_arrays, write_arrays
from viscnn.engine.target import resolve
from viscnn.errors import ImagesError

IMAGES = 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return toy.split_pictures(tmp_path / "pictures", score=IMAGES // 3, check=1)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_small_batches(monkeypatch, tmp_path / "home")


JOBS = (("loss", "taylor"), ("class:bee", "taylor-signed"))


def score(
    bundle: Bundle, *, jobs: tuple[tuple[str, str | Criterion], ...] = JOBS, **running: Any
) -> tuple[SetScores, ...]:
    """All images of the score part by some jobs in one pass."""
    found = []
    for output, criterion in jobs:
        target = resolve(parse_output(output), model="toy", architecture=bundle.architecture, classes=bundle.classes)
        found.append(Job(target, criterion if isinstance(criterion, Criterion) else CRITERIA[criterion]))
    return score_jobs(bundle, bundle.collection.select("overall", "score"), found, running=Running(**running))


@pytest.fixture
def whole(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[SetScores, ...]:
    """What a run that is not stopped finds."""
    with monkeypatch.context() as patch:
        patch.setenv("VISCNN_HOME", str(tmp_path / "elsewhere"))
        return score(toy.bundle_of(toy.toy_network(), folder))


def assert_same(found: tuple[SetScores, ...], expected: tuple[SetScores, ...]) -> None:
    for one, other in zip(found, expected, strict=True):
        for left, right in zip((*one.kernels, *one.filters), (*other.kernels, *other.filters), strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-12 * np.abs(right).max())
        np.testing.assert_allclose(one.totals, other.totals, rtol=1e-12)
        assert one.skipped == other.skipped
        assert not one.cached


# --- what stops it -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no power"), SystemExit(1), MemoryError()])
def test_a_run_that_was_stopped_goes_on_where_it_was(
    folder: Path, whole: tuple[SetScores, ...], error: BaseException
) -> None:
    first = Reads(folder, stopping(7, error))  # in the middle of the fourth batch
    with pytest.raises(type(error)):
        score(first.bundle)
    assert len(stopped_files()) == 1
    told: list[tuple[int, int]] = []
    second = Reads(folder)
    found = score(second.bundle, progress=lambda step, done, total: told.append((done, total)))
    assert_same(found, whole)
    assert len(second.paths) == IMAGES - 6
    assert sorted({*first.paths[:6], *second.paths}) == sorted(first.paths[:6] + second.paths)
    assert told == [(done, IMAGES) for done in (6, 8, 10, 12)]
    assert stopped_files() == []
    assert all(each.cached for each in score(Reads(folder).bundle))


def test_a_run_can_be_stopped_again_and_again(folder: Path, whole: tuple[SetScores, ...]) -> None:
    reads: list[str] = []
    for _ in range(5):
        some = Reads(folder, stopping(3, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            score(some.bundle)
        reads += some.paths[:2]
    last = Reads(folder)
    assert_same(score(last.bundle), whole)
    assert len(last.paths) == 2
    assert len({*reads, *last.paths}) == len(reads + last.paths) == IMAGES


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_a_run_stopped_while_it_adds_counts_no_batch_twice(
    folder: Path, whole: tuple[SetScores, ...], layers: int
) -> None:
    """Ctrl-C comes when the scores of some layers of the third batch are in the sums, or of all of them."""
    calls = []

    def interrupted(batch: Batch) -> Iterator[Scores]:
        calls.append(batch)
        for number, scores in enumerate(CRITERIA["taylor"].of(batch)):
            if len(calls) == 3 and number == layers:
                raise KeyboardInterrupt
            yield scores
        if len(calls) == 3:
            raise KeyboardInterrupt

    criterion = replace(CRITERIA["taylor"], score=interrupted)
    with pytest.raises(KeyboardInterrupt):
        score(Reads(folder).bundle, jobs=(JOBS[1], ("loss", criterion)))
    second = Reads(folder)
    found = score(second.bundle, jobs=JOBS[::-1])
    assert_same(found, whole[::-1])
    assert len(second.paths) == IMAGES - 4
    assert stopped_files() == []


def test_sums_with_a_part_of_a_batch_are_never_saved(folder: Path) -> None:
    """Ctrl-C in the very moment in which a batch is added: what was saved before counts, or else nothing."""

    class Images:
        def __init__(self, stop: int | None = None) -> None:
            self.sums = np.zeros(2)
            self.stop = stop

        def scored(self, images: Tensor, labels: list[int | None]) -> Callable[[], None]:
            def add() -> None:
                self.sums[0] += len(images)
                if self.sums[0] == self.stop:
                    raise KeyboardInterrupt
                self.sums[1] += len(images)

            return add

        def state(self) -> dict[str, Any]:
            return {"sums": self.sums.copy()}

        def restore(self, state: Mapping[str, Any]) -> None:
            self.sums = state["sums"]

    bundle = toy.bundle_of(toy.toy_network(), folder)
    chosen = bundle.collection.select("overall", "score")
    with pytest.raises(KeyboardInterrupt):
        run_through(bundle, chosen, Images(stop=6), key="k")
    assert stopped_files() == []
    found = Images()
    run_through(bundle, chosen, found, key="k")
    assert found.sums.tolist() == [IMAGES, IMAGES]


def test_a_broken_image_is_told_once_whether_before_or_after_the_stop(folder: Path) -> None:
    bundle = toy.bundle_of(toy.toy_network(), folder)
    chosen = bundle.collection.select("overall", "score")
    broken = [bundle.collection.items[chosen[number]].path for number in (1, 6, 9)]
    collections = [Reads(folder, stopping(7, KeyboardInterrupt())), Reads(folder)]
    for path in broken:
        (folder / path).write_bytes(b"no picture")
    with pytest.raises(KeyboardInterrupt):
        score(collections[0].bundle)
    found = score(collections[1].bundle)
    assert found[0].skipped == found[1].skipped == tuple(broken)
    assert len(found[0].totals) == IMAGES - 3


def test_an_error_that_would_come_again_leaves_nothing_behind(folder: Path) -> None:
    with pytest.raises(ImagesError, match="gone"):
        score(Reads(folder, stopping(7, ImagesError("the folder is gone"))).bundle)
    assert stopped_files() == []


def test_rounds_go_on_where_they_were(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stopped in the last of three rounds: the first two are not in the stopped file, and are run again."""
    criterion = replace(CRITERIA["force"], parameters={"keep": 0.2, "rounds": 3})
    first = Reads(folder, stopping(2 * IMAGES + 5, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        score(first.bundle, jobs=(("loss", criterion),))
    second = Reads(folder)
    found = score(second.bundle, jobs=(("loss", criterion),))
    monkeypatch.setenv("VISCNN_HOME", str(tmp_path / "third"))
    assert_same(found, score(Reads(folder).bundle, jobs=(("loss", criterion),)))
    assert len(second.paths) <= 3 * IMAGES - 4


def test_a_process_that_is_killed_goes_on_where_it_last_saved(folder: Path, whole: tuple[SetScores, ...]) -> None:
    """kill -9 leaves no time to save: what counts is what was saved on the way."""
    code = f"""
        import time
        from pathlib import Path
        from tests import test_streaming as here
        from tests.reads import Reads
        from viscnn.engine import streaming

        def wait(count):
            if count == 7:
                print("seven", flush=True)
                time.sleep(600)

        streaming.SAVE_SECONDS = -1.0
        streaming.BATCH_FLOATS = {streaming.BATCH_FLOATS}
        here.score(Reads(Path({str(folder)!r}), wait).bundle)
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "seven\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert len(stopped_files()) == 1
    second = Reads(folder)
    assert_same(score(second.bundle), whole)
    assert len(second.paths) == IMAGES - 6
    assert stopped_files() == []


# --- files that do not fit ---------------------------------------------------------------------------------------


def _without(file: Path, *names: str, **others: Any) -> None:
    with np.load(file) as stored:
        arrays = {name: stored[name] for name in stored.files if name not in names}
    write_arrays(file, {**arrays, **others})


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-300]),
    "garbage": lambda file: file.write_bytes(b"PK\x03\x04" + b"y" * 900),
    "pickled": lambda file: np.savez(file, kernels0=np.array([{}], dtype=object)),
    "nothing in it": lambda file: np.savez(file),
    "no place": lambda file: _without(file, "done"),
    "the second job's last layer missing": lambda file: _without(file, "1/filters1"),
    "another shape": lambda file: _without(file, **{"1/kernels1": np.zeros((2, 2))}),
    "not finite": lambda file: _without(file, **{"1/kernels0": np.full((4, 1), np.nan)}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_as_if_there_were_none(folder: Path, whole: tuple[SetScores, ...], damage: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        score(Reads(folder, stopping(7, KeyboardInterrupt())).bundle)
    (file,) = stopped_files()
    DAMAGES[damage](file)
    second = Reads(folder)
    assert_same(score(second.bundle), whole)
    assert len(second.paths) == IMAGES
    assert stopped_files() == []


def _another_picture(folder: Path) -> Bundle:
    toy.write_pictures(folder, counts={"score/ant": 1}, seed=99)
    return toy.bundle_of(toy.toy_network(), folder)


def _other_weights(folder: Path) -> Bundle:
    network = toy.toy_network()
    network.get_parameter("conv1.weight").data *= 2
    return toy.bundle_of(network, folder)


@pytest.mark.parametrize("change", [_another_picture, _other_weights])
def test_another_image_set_or_model_does_not_use_it(
    folder: Path, change: Callable[[Path], Bundle], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        score(Reads(folder, stopping(7, KeyboardInterrupt())).bundle)
    found = score(change(folder))
    monkeypatch.setenv("VISCNN_HOME", str(tmp_path / "fresh"))
    assert_same(found, score(change(folder)))


# --- memory ------------------------------------------------------------------------------------------------------


def test_memory_is_the_same_for_ten_times_as_many_images(tmp_path: Path) -> None:
    """1,800 more pictures: 7 MB as tensors, and 49 MB of maps."""
    folder = toy.write_pictures(tmp_path / "many", counts={"score/ant": 2000}, size=(32, 32))
    code = f"""
        from pathlib import Path
        from torch import nn
        from tests import nets, toy
        from viscnn.engine.criteria import CRITERIA
        from viscnn.engine.output import parse_output
        from viscnn.engine.scoring import score_images
        from viscnn.engine.target import resolve

        def peak():
            with open("/proc/self/status") as lines:
                return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

        network = nets.chain(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3), shape=(1, 32, 32))
        bundle = toy.bundle_of(network, Path({str(folder)!r}), shape=(1, 32, 32))
        target = resolve(parse_output("loss"), model="toy", architecture=bundle.architecture, classes=bundle.classes)
        images = bundle.collection.select("overall", "score")
        for count in (200, 2000):
            found = score_images(bundle, images[:count], target, CRITERIA["taylor"])
            print(len(found.totals), peak())
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (few, before), (many, after) = (map(float, line.split()) for line in done.stdout.splitlines())
    assert (few, many) == (200, 2000)
    assert after - before < 6


def test_a_stopped_run_does_not_go_on_where_other_images_stand(folder: Path) -> None:
    """The same pictures in another order: a set's scores do not depend on it, what a stopped run has done does."""
    jobs = (("layer:conv2", "taylor"),)
    with pytest.raises(KeyboardInterrupt):
        score(Reads(folder, stopping(6, KeyboardInterrupt())).bundle, jobs=jobs)
    assert len(stopped_files()) == 1
    for name, other in (("ant", "x"), ("cat", "ant"), ("x", "cat")):
        (folder / "score" / name).rename(folder / "score" / other)
    again = Reads(folder)
    found = score(again.bundle, jobs=jobs)[0]
    assert len(again.paths) == IMAGES
    assert len(found.totals) == IMAGES


def test_files_of_runs_that_nobody_repeats_are_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, half, new = (streaming._stopped_folder() / name for name in ("old.npz", "half.0.part", "new.npz"))
    old.parent.mkdir(parents=True)
    for file in (old, half, new):
        file.touch()
    for file in (old, half):
        os.utime(file, (0, 0))
    with pytest.raises(KeyboardInterrupt):
        score(Reads(folder, stopping(6, KeyboardInterrupt())).bundle)
    assert not old.exists()
    assert not half.exists()
    assert new.exists()


def test_a_file_that_cannot_be_read_just_now_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "as-a-folder.npz"
    folder.mkdir()  # opening it fails, as on a network drive that is away
    assert read_arrays(folder) is None
    assert folder.exists()
