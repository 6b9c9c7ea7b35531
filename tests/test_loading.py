"""Streams of batches: the same with workers and without, from anywhere on, and what ends them."""

import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image, ImageFile
from torch import Tensor

from viscnn.engine import loading
from viscnn.engine.archives import from_arrays
from viscnn.engine.images import ImageCollection, Picture
from viscnn.engine.loading import stream, worker_count
from viscnn.engine.preprocess import Preprocess
from viscnn.engine.sources import open_source
from viscnn.errors import ConfigError, ImagesError

# torch warns where a machine has fewer CPUs than a test asks workers for
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

NOISE = np.random.default_rng(7).integers(0, 256, (24, 9, 12, 3), dtype=np.uint8)
Batches = list[tuple[list[int], Tensor]]


def jpeg_folder(folder: Path, count: int, *, cut: set[int]) -> ImageCollection:
    for number in range(count):
        buffer = io.BytesIO()
        Image.fromarray(NOISE[number % len(NOISE)]).resize((70, 90)).save(buffer, "JPEG")
        whole = buffer.getvalue()
        (folder / f"{number:03d}.jpg").write_bytes(whole[:-900] if number in cut else whole)
    return open_source(folder)


def read(collection: ImageCollection, indices: list[int], **options: object) -> tuple[Batches, list[str]]:
    skipped: list[str] = []
    settings = {"preprocess": Preprocess(), "batch_size": 2} | options
    found = list(stream(collection, indices, on_skip=lambda path, _: skipped.append(path), **settings))  # type: ignore[arg-type]
    return found, skipped


def workers_of(parent: int) -> list[psutil.Process]:
    """The decoding workers of a process: what its fork server has forked."""
    servers = [each for each in psutil.Process(parent).children() if "forkserver" in " ".join(each.cmdline())]
    return [each for server in servers for each in server.children() if each.status() != psutil.STATUS_ZOMBIE]


def wait_until_none(parent: int, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while workers_of(parent) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert workers_of(parent) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_by_hand(workers: int) -> None:
    collection = from_arrays(NOISE)
    indices = [7, 3, 3, 11, 20]
    found, skipped = read(collection, indices, workers=workers)
    assert [positions for positions, _ in found] == [[0, 1], [2, 3], [4]]
    assert skipped == []
    whole = torch.cat([tensor for _, tensor in found])
    assert whole.dtype == torch.float32
    assert torch.allclose(whole, torch.from_numpy(NOISE[indices]).permute(0, 3, 1, 2) / 255)
    ((positions, at_once),) = read(collection, indices, workers=workers, batch_size=99)[0]
    assert positions == [0, 1, 2, 3, 4]
    assert torch.equal(at_once, whole)


@pytest.mark.parametrize("workers", [0, 2])
def test_images_that_cannot_be_decoded_are_left_out(tmp_path: Path, workers: int) -> None:
    collection = jpeg_folder(tmp_path, 5, cut={0, 3})
    told: list[tuple[str, str]] = []
    batches = stream(
        collection, range(5), Preprocess(), batch_size=2, workers=workers, on_skip=lambda *flaw: told.append(flaw)
    )
    assert next(batches)[0] == [1, 2]
    assert [path for path, _ in told] == ["000.jpg"], "told no earlier than its turn"
    assert [(positions, tuple(tensor.shape)) for positions, tensor in batches] == [([4], (1, 3, 90, 70))]
    assert [path for path, _ in told] == ["000.jpg", "003.jpg"]
    assert all("corrupt image" in reason for _, reason in told)


def test_workers_change_nothing(tmp_path: Path) -> None:
    collection = jpeg_folder(tmp_path, 101, cut={0, 17, 18, 50, 100})
    indices = [*range(101), 5, 17, 3]
    preprocess = Preprocess(size=(32, 40), resize=48, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    alone, skipped = read(collection, indices, preprocess=preprocess, batch_size=7, workers=0)
    assert skipped == [f"{number:03d}.jpg" for number in (0, 17, 18, 50, 100, 17)]
    assert [len(positions) for positions, _ in alone] == [7] * 14, "98 of 104"
    for workers in (1, 3):
        found, left_out = read(collection, indices, preprocess=preprocess, batch_size=7, workers=workers)
        assert left_out == skipped
        assert [positions for positions, _ in found] == [positions for positions, _ in alone]
        assert all(torch.equal(ours, theirs) for (_, ours), (_, theirs) in zip(found, alone, strict=True))
    singly = [preprocess.apply(collection.read(indices[position])) for positions, _ in alone for position in positions]
    assert torch.equal(torch.stack(singly), torch.cat([tensor for _, tensor in alone]))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_stream_goes_on_where_it_was(tmp_path: Path, workers: int) -> None:
    collection = jpeg_folder(tmp_path, 30, cut={4, 5, 6, 29})
    whole = torch.cat([tensor for _, tensor in read(collection, list(range(30)), batch_size=30)[0]])
    skipped: list[str] = []
    kept: list[Tensor] = []
    start = 0
    while start < 30:
        batches = stream(
            collection,
            range(30),
            Preprocess(),
            batch_size=4,
            start=start,
            workers=workers,
            on_skip=lambda path, _: skipped.append(path),
        )
        found = next(batches, None)  # one batch a run
        batches.close()
        if found is None:
            break
        kept.append(found[1])
        start = found[0][-1] + 1
    assert torch.equal(torch.cat(kept), whole)
    assert skipped == ["004.jpg", "005.jpg", "006.jpg", "029.jpg"]


def test_starting_at_the_end_or_beyond() -> None:
    collection = from_arrays(NOISE)
    assert read(collection, [1, 2], start=2) == ([], [])
    assert [positions for positions, _ in read(collection, [1, 2, 3], start=1)[0]] == [[1, 2]]
    with pytest.raises(ImagesError, match="2 images from image 3 on in batches of 2"):
        read(collection, [1, 2], start=3)
    with pytest.raises(ImagesError, match="in batches of 0"):
        read(collection, [1, 2], batch_size=0)


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_to_read(tmp_path: Path, workers: int) -> None:
    collection = jpeg_folder(tmp_path, 5, cut=set(range(5)))
    with pytest.raises(ImagesError, match=r"none of the 5 images can be decoded: image 000\.jpg: corrupt"):
        read(collection, list(range(5)), workers=workers)
    with pytest.raises(ImagesError, match="no images: the image set is empty"):
        read(collection, [], workers=workers)
    assert read(collection, list(range(5)), workers=workers, start=2) == ([], ["002.jpg", "003.jpg", "004.jpg"])


@pytest.mark.parametrize("workers", [0, 1])
def test_unlike_sizes(tmp_path: Path, workers: int) -> None:
    for number, side in enumerate((4, 4, 8, 8, 8, 4)):
        Image.new("RGB", (side, 5)).save(tmp_path / f"{number}.png")
    collection = open_source(tmp_path)
    alike = read(collection, [0, 1, 2, 3], workers=workers)[0]
    assert [tensor.shape[3] for _, tensor in alike] == [4, 8], "sizes may differ between batches"
    with pytest.raises(ImagesError, match=r"unlike sizes \(5\.png is 5x4, not 5x8\); give the input size"):
        read(collection, list(range(6)), workers=workers)
    sized = read(collection, list(range(6)), workers=workers, preprocess=Preprocess(size=(3, 3)), batch_size=6)[0]
    assert sized[0][1].shape == (6, 3, 3, 3)


@pytest.mark.parametrize("workers", [0, 2])
def test_reads_ahead_a_little_only(workers: int) -> None:
    collection = from_arrays(NOISE)
    asked = 0

    def counting(index: int) -> Picture:
        nonlocal asked
        asked += 1
        return collection.reader(index)

    watched = ImageCollection.of(collection.items, counting, source="noise")
    batches = stream(watched, [0] * 50_000, Preprocess(), batch_size=4, workers=workers)
    for _ in range(10):
        next(batches)
    batches.close()
    assert 40 <= asked <= 40 + 4 * (2 * workers + 1), "two parts of four images for each worker"


def test_pictures_travel_alone() -> None:
    import pickle

    collection = from_arrays(np.zeros((2000, 20, 20, 3), dtype=np.uint8))
    assert len(pickle.dumps(collection.reader(3))) < 2000


def test_the_caller_s_random_numbers_are_left_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    read(from_arrays(NOISE), [1, 2, 3], workers=1)
    read(from_arrays(NOISE), [1, 2, 3], workers=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_pillow_s_settings_hold_in_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = jpeg_folder(tmp_path, 4, cut={2})
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert read(collection, [0, 1, 2, 3], workers=1)[1] == []
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for workers in (0, 1):
        with pytest.raises(ImagesError, match=r"none of the 4 .* 000\.jpg: too large"):
            read(collection, [0, 1, 2, 3], workers=workers)


def test_closing_ends_the_workers() -> None:
    batches = stream(from_arrays(NOISE), [0] * 5000, Preprocess(), batch_size=2, workers=2)
    next(batches)
    assert len(workers_of(os.getpid())) == 2
    batches.close()
    wait_until_none(os.getpid())


def test_a_killed_worker_is_an_error_and_no_hang() -> None:
    batches = stream(from_arrays(NOISE), [0] * 50_000, Preprocess(), batch_size=2, workers=2)
    next(batches)
    workers_of(os.getpid())[0].kill()
    began = time.monotonic()
    with pytest.raises(ImagesError, match="a process that decodes images failed") as caught:
        for _ in batches:
            pass
    assert time.monotonic() - began < 30
    assert "VISCNN_WORKERS=0" in str(caught.value)
    assert "\n" not in str(caught.value)
    wait_until_none(os.getpid())


FULL = """
import numpy as np
from viscnn.engine.archives import from_arrays
from viscnn.engine.loading import stream
from viscnn.engine.preprocess import Preprocess
from viscnn.errors import ImagesError

batches = stream(from_arrays(np.zeros((4, 800, 800), np.uint8)), [0] * 99, Preprocess(), batch_size=4, workers=1)
try:
    list(batches)
except ImagesError as error:
    print(error)
"""


def test_full_shared_memory_is_an_error_and_no_hang(tmp_path: Path) -> None:
    small = [
        "unshare",
        "--mount",
        "--map-root-user",
        "sh",
        "-c",
        'mount -t tmpfs -o size=1m tmpfs /dev/shm && "$@"',
        "-",
    ]
    if not shutil.which("unshare") or subprocess.run([*small, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let a test mount a small /dev/shm of its own")
    (tmp_path / "full.py").write_text(FULL)
    command = [*small, sys.executable, str(tmp_path / "full.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert "a process that decodes images failed" in done.stdout
    assert "No space left on device" in done.stdout
    assert done.stdout.count("\n") == 1


def test_workers_start_below_other_threads() -> None:
    """As in Streamlit: in a thread, while others compute, and after torch has started its own threads."""
    collection = from_arrays(NOISE)
    done = threading.Event()

    def compute() -> None:
        while not done.is_set():
            torch.rand(200, 200) @ torch.rand(200, 200)

    found: list[Batches] = []
    computing = threading.Thread(target=compute)
    reading = [
        threading.Thread(target=lambda: found.append(read(collection, list(range(24)), workers=1)[0])) for _ in range(2)
    ]
    computing.start()
    for each in reading:
        each.start()
    for each in reading:
        each.join(timeout=60)
    done.set()
    computing.join()
    assert [[positions for positions, _ in each] for each in found] == [[[n, n + 1] for n in range(0, 24, 2)]] * 2


SCRIPT = """
import os, sys, time
import numpy as np
from viscnn.engine.archives import from_arrays
from viscnn.engine.loading import stream
from viscnn.engine.preprocess import Preprocess

print("started", flush=True)
batches = stream(from_arrays(np.zeros((4, 8, 8), np.uint8)), [0] * 100_000, Preprocess(), batch_size=2, workers=2)
for positions, images in batches:
    if positions[0] == 0:
        print("reading", flush=True)
    if len(sys.argv) > 1:
        os._exit(0)
    time.sleep(0.01)
"""


def script(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """A running script that streams with two workers, with no `if __name__ == "__main__"`."""
    file = folder / "analysis.py"
    file.write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, str(file), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []


def test_an_interrupt_ends_a_script_and_its_workers(tmp_path: Path) -> None:
    with script(tmp_path) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "started\n"
        assert running.stdout.readline() == "reading\n", "workers do not run the script again"
        started = psutil.Process(running.pid).children(recursive=True)
        assert len(workers_of(running.pid)) == 2
        os.killpg(running.pid, signal.SIGINT)  # as Ctrl-C does: to all of them
        try:
            output, errors = running.communicate(timeout=30)
        finally:
            running.kill()
    assert output == ""
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert errors.count("KeyboardInterrupt") == 1, "workers say nothing"
    assert "Process " not in errors
    wait_until_gone(started)


def test_workers_end_with_a_process_that_just_dies(tmp_path: Path) -> None:
    with script(tmp_path, "die") as running:
        output, _ = running.communicate(timeout=60)  # returns once nobody holds the pipe any more
    assert output == "started\nreading\n"


def test_worker_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISCNN_WORKERS", raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    for cpus, few, many in ((1, 0, 0), (2, 0, 1), (4, 0, 3), (64, 0, 8)):
        monkeypatch.setattr(loading, "cpus", lambda cpus=cpus: cpus)
        assert (worker_count(loading.WORTHWHILE - 1), worker_count(loading.WORTHWHILE)) == (few, many)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "16")
    assert worker_count(1_000_000) == 3
    for named in ("0", "5"):
        monkeypatch.setenv("VISCNN_WORKERS", named)
        assert worker_count(1) == worker_count(1_000_000) == int(named)
    for wrong in ("-1", "many", "1.5", "²"):
        monkeypatch.setenv("VISCNN_WORKERS", wrong)
        with pytest.raises(ConfigError, match=f"VISCNN_WORKERS is '{wrong}'"):
            worker_count(1)
