"""What has been rendered is kept, by content: found again, rendered again where damaged, resumed where stopped."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.visualized import branching, renderer
from viscnn.engine.bundle import Bundle
from viscnn.engine.visualize import cache, lucent, optimise, render
from viscnn.engine.visualize.objectives import Objective, filter_objective
from viscnn.engine.visualize.settings import BACKENDS, Visualization
from viscnn.errors import InputError

STEPS = 3


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISCNN_HOME", str(tmp_path))


def filters(bundle: Bundle, *, layer: str = "two", **settings: Any) -> list[Objective]:
    spec = bundle.architecture.layer(layer)
    return [filter_objective(bundle.name, spec, channel, **settings) for channel in range(spec.filters)]


def files(home: Path) -> list[Path]:
    return sorted(home.glob("cache/visualizations/**/*.*"))


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    def climb(*_: Any, **__: Any) -> Any:
        raise AssertionError("it was rendered")

    monkeypatch.setattr(optimise, "climb", climb)


def same(one: Visualization, two: Visualization) -> bool:
    return bool((one.image == two.image).all()) and one.activation == two.activation


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_rendered_one_is_found_again(channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = branching(channels)
    how = renderer(bundle, steps=STEPS)
    assert how.cached(filters(bundle)[0]) is None
    first = how.one(filters(bundle)[0])
    assert not first.cached
    assert files(tmp_path) == [first.file]
    forbid(monkeypatch)
    again = renderer(branching(channels, name="other"), steps=STEPS).one(filters(branching(channels, name="other"))[0])
    assert again.cached, "the same network has the same visualisations under any name"
    assert again.target == "other/two/0"
    assert same(first, again)
    with Image.open(first.file) as picture:
        assert picture.format == "PNG"
        assert picture.size == (10 * channels if channels == 5 else 10, 12)
        about = json.loads(picture.info["viscnn"])["about"]
    assert about == {"model": "net", "target": "net/two/0", "objective": "channel", "sign": 1, "circuit": None}


def test_everything_that_matters_has_a_place_of_its_own(tmp_path: Path) -> None:
    bundle = branching()
    one = filters(bundle)[0]
    made = {
        renderer(bundle, steps=STEPS).one(one).file,
        renderer(bundle, steps=STEPS + 1).one(one).file,
        renderer(bundle, steps=STEPS, seed=1).one(one).file,
        renderer(bundle, steps=STEPS, size=(12, 12)).one(one).file,
        renderer(bundle, steps=STEPS).one(filters(bundle, kind="neuron")[0]).file,
        renderer(bundle, steps=STEPS).one(filters(bundle, sign=-1)[0]).file,
        renderer(bundle, steps=STEPS).one(filters(bundle)[1]).file,
        renderer(branching(1), steps=STEPS).one(filters(branching(1))[0]).file,
    }
    assert len(made) == 8
    assert set(files(tmp_path)) == made
    assert renderer(bundle, steps=STEPS, size=(12, 10)).one(one).cached, "the model's own size is the default"


@pytest.mark.parametrize("damage", ["cut", "flipped", "other", "text", "empty", "size"])
def test_a_damaged_file_is_rendered_again(damage: str) -> None:
    bundle = branching()
    how, (one, two, *_) = renderer(bundle, steps=STEPS), filters(bundle)
    first, second = how.each([one, two])
    whole = first.file.read_bytes()
    if damage == "cut":
        first.file.write_bytes(whole[: len(whole) // 2])
    elif damage == "flipped":
        place = whole.index(b"IDAT") + 60
        first.file.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
    elif damage == "other":
        pixels = second.image.copy()
        Image.fromarray(pixels).save(first.file, "PNG")
    elif damage == "text":
        first.file.write_text("not a picture")
    elif damage == "size":
        cache.save(first.file, cache.Stored(first.image[:5], 1.0, 1.0), {})
    else:
        first.file.write_bytes(b"")
    assert how.cached(one) is None
    assert not first.file.exists(), "it is removed"
    again = how.one(one)
    assert not again.cached
    np.testing.assert_array_equal(again.image, first.image)
    assert how.one(two).cached


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = branching()
    every = filters(bundle)
    monkeypatch.setattr(render, "MOST_IMAGES", 2)
    told: list[tuple[int, int]] = []

    def stop(step: str, done: int, total: int) -> None:
        told.append((done, total))
        if done == 2 * STEPS + 2 * STEPS:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(renderer(bundle, steps=STEPS).each(every, progress=stop))
    assert told == [(0, 12), (6, 12), (12, 12)]
    assert len(files(tmp_path)) == 2, "no half of a file either"
    told.clear()
    found = list(
        renderer(bundle, steps=STEPS).each(every, progress=lambda step, done, total: told.append((done, total)))
    )
    assert [each.cached for each in found] == [True, True, False, False]
    assert [each.target for each in found] == [f"net/two/{channel}" for channel in range(4)]
    assert told == [(0, 6), (6, 6)]
    assert len(files(tmp_path)) == 4


def test_what_progress_raises_stops_within_a_few_steps() -> None:
    bundle = branching()

    def stop(step: str, done: int, total: int) -> None:
        if done:
            raise ValueError(done)

    with pytest.raises(ValueError, match=str(render.TELL_EVERY)):
        renderer(bundle, steps=1000).one(filters(bundle)[0], progress=stop)


def test_batches_stay_within_memory() -> None:
    bundle = branching()
    one = bundle.architecture.layer("one")
    assert render.batch_size(bundle, one, (12, 10)) == render.MOST_IMAGES
    # 3 channels of the image and 6 maps of the first layer
    assert render.batch_size(bundle, one, (600, 600)) == 24_000_000 // ((3 + 6) * 600 * 600) == 7
    assert render.batch_size(bundle, None, (600, 600)) < render.batch_size(bundle, one, (600, 600))
    assert render.batch_size(bundle, None, (9000, 9000)) == 1


# --- Lucent ------------------------------------------------------------------------------------------------------


def test_lucent_is_refused_by_name_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(lucent, "import_module", missing)
    bundle = branching()
    with pytest.raises(InputError, match=r"pip install 'viscnn\[lucent\]'"):
        renderer(bundle, steps=STEPS, backend="lucent").one(filters(bundle)[0])
    assert BACKENDS == ("own", "lucent")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.filterwarnings("ignore")
def test_lucent_renders_behind_the_same_interface(channels: int, tmp_path: Path) -> None:
    pytest.importorskip("lucent", reason="torch-lucent is not installed (the extra viscnn[lucent])")
    bundle = branching(channels)
    module = bundle.architecture.module
    how = renderer(bundle, steps=20, backend="lucent")
    one = filters(bundle)[1]
    told: list[int] = []
    first = how.one(one, progress=lambda step, done, total: told.append(done))
    assert first.image.shape == (12, 10, channels)
    assert (first.cached, told[-1]) == (False, 20)
    start = renderer(bundle, steps=1, backend="lucent").one(one)
    assert first.activation > start.activation
    assert first.file != renderer(bundle, steps=20).one(one).file
    first.file.unlink()
    np.testing.assert_array_equal(how.one(one).image, first.image)
    assert not any(each._forward_hooks for each in module.modules())

    def stop(step: str, done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        renderer(bundle, steps=30, backend="lucent").one(one, progress=stop)


# --- the benchmark -----------------------------------------------------------------------------------------------


def test_the_benchmark_prints_what_it_says() -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "visualize.py"
    arguments = ["mnist", "--layer", "conv1", "--filters", "2", "--steps", "3", "--more", "4", "--json"]
    run = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, check=True)
    rows = json.loads(run.stdout)["rows"]
    assert [(row["contender"], row["steps"]) for row in rows][:3] == [("own", 3), ("own alone", 3), ("own", 4)]
    assert rows[0]["filters"] == ["mnist/conv1/0", "mnist/conv1/8"]
    assert rows[0]["activation"] == pytest.approx(rows[1]["activation"], rel=0.01)
    assert all(row["seconds"] > 0 for row in rows)
    assert rows[2]["aboveGrey"] > rows[0]["aboveGrey"] > 0
