"""Images through the network, batch by batch, into running sums; a stopped run goes on where it was.

Memory does not grow with the number of images: one batch, the few that are read ahead, and the sums. Once a minute,
and when it is interrupted, a run writes its sums and place to the cache; the next run of the same thing starts there.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from viscnn.config import cache_folder
from viscnn.engine.bundle import Bundle
from viscnn.engine.device import device
from viscnn.engine.loading import stream
from viscnn.engine.sums import read_arrays, write_arrays
from viscnn.errors import ImagesError, ViscnnError
from viscnn.progress import Progress, silent

__all__ = ["PER_IMAGE", "Accumulator", "Alone", "Group", "batch_size", "image_batches", "run_through"]

BATCH_FLOATS = 16_000_000
SAVE_SECONDS = 60.0
KEPT_SECONDS = 30 * 24 * 3600.0
PER_IMAGE = "totals"
"""Last part of the name of an array in an accumulator's state that has a value for each image, and is no sum."""


class Accumulator(Protocol):
    """What images are summed into."""

    def scored(self, images: Tensor, labels: list[int | None]) -> Callable[[], None]:
        """One batch (N, C, H, W) with class numbers, None where a label is no class of the model.

        Whatever takes time is done here; the sums change only when what is returned is called.
        """

    def state(self) -> dict[str, NDArray[Any]]:
        """The sums as arrays; one named PER_IMAGE holds a value (images,) for each image instead."""

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """What `state` returned; raises KeyError or ValueError when it is of something else."""


class Group(Protocol):
    """The processes that share the images of a pass."""

    @property
    def rank(self) -> int:
        """The number of this one, from 0."""

    @property
    def size(self) -> int:
        """How many there are."""

    @property
    def keeps(self) -> bool:
        """Whether this one keeps scores on disk: one of each machine does."""

    def common(self, names: Iterable[str]) -> set[str]:
        """The names that all of them give."""

    def gather(self, accumulator: Accumulator, skipped: list[str]) -> list[str]:
        """Add up the sums of all processes in place in each of them; returns what any of them skipped."""


@dataclass(frozen=True)
class Alone:
    """One process has all the images."""

    rank: int = 0
    size: int = 1
    keeps: bool = True

    def common(self, names: Iterable[str]) -> set[str]:
        """All of them."""
        return set(names)

    def gather(self, accumulator: Accumulator, skipped: list[str]) -> list[str]:
        """Nothing to add."""
        return skipped


def run_through(
    bundle: Bundle,
    indices: tuple[int, ...],
    accumulator: Accumulator,
    *,
    key: str,
    group: Group | None = None,
    progress: Progress = silent,
    step: str = "images",
    workers: int | None = None,
) -> tuple[str, ...]:
    """Add every image to the accumulator, from where an interrupted run of the same `key` stopped.

    Args:
        indices: images by their position in the bundle's collection.
        key: names everything that the sums depend on, apart from the order of the images.
        group: the processes that share the images; each reads its own part, and has the sums of all in the end.
        workers: processes that decode; by default as `loading.stream` chooses.

    Returns:
        Paths of the images that could not be decoded.

    Raises:
        ImagesError: none of the images can be decoded, or the processes do not see the same ones.
    """
    sharing: Group = group or Alone()
    mine = _share(bundle, indices, sharing)
    place = _Place(_stopped_folder() / f"{_order(bundle, mine, key)}.npz", accumulator)
    place.restore()
    progress(step, place.done * sharing.size, len(indices))
    with place.saved(always=sharing.size > 1), closing(_added(bundle, mine, place, sharing, workers)) as counts:
        for done in counts:
            progress(step, min(done * sharing.size, len(indices)), len(indices))
    found = list(dict.fromkeys(place.skipped))
    if sharing.size > 1:
        if mine:
            place.save()  # whatever happens to the others from here on
        if not sharing.common([_order(bundle, indices, key)]):
            raise ImagesError(
                "the processes do not see the same images and network: give all the same, of the same names"
            )
        found = sharing.gather(accumulator, found)
        _put_in_order(bundle, indices, accumulator, sharing.size, set(found))
    place.forget()
    if len(found) == len(indices):
        raise ImagesError(f"none of the {len(indices)} images can be decoded, such as {found[0]}")
    return tuple(found)


def _added(
    bundle: Bundle, mine: tuple[int, ...], place: "_Place", sharing: Group, workers: int | None
) -> Generator[int]:
    """Add the images of a process that are not in its sums yet; how many are, after each batch."""
    if place.done == len(mine):
        return
    read = _batches(bundle, mine, place.skipped, start=place.done, workers=workers)
    with _flaws_of_a_share(sharing, mine, place.skipped), closing(read):
        for positions, images, labels in read:
            place.add(images, labels, positions[-1] + 1)
            yield place.done
    place.done = len(mine)


def _share(bundle: Bundle, indices: tuple[int, ...], group: Group) -> tuple[int, ...]:
    """Every size-th batch, whole: so each batch's float32 sums are those of one process, bit for bit."""
    return tuple(indices[position] for position in _positions(bundle, len(indices), group.rank, group.size))


def _positions(bundle: Bundle, images: int, rank: int, processes: int) -> list[int]:
    size = batch_size(bundle)
    starts = range(rank * size, images, processes * size)
    return [position for start in starts for position in range(start, min(start + size, images))]


def _put_in_order(
    bundle: Bundle, indices: tuple[int, ...], accumulator: Accumulator, processes: int, skipped: set[str]
) -> None:
    """Values per image lie process after process; put them into the order of the images."""
    positions = [each for rank in range(processes) for each in _positions(bundle, len(indices), rank, processes)]
    kept = [each for each in positions if bundle.collection.items[indices[each]].path not in skipped]
    order = np.argsort(kept)
    state = accumulator.state()
    per_image = {name: array[order] for name, array in state.items() if name.rpartition("/")[2] == PER_IMAGE}
    accumulator.restore({**state, **per_image})


@contextmanager
def _flaws_of_a_share(group: Group, mine: tuple[int, ...], skipped: list[str]) -> Iterator[None]:
    """That a process can decode none of its images is no error yet: others may have sound ones."""
    try:
        yield
    except ImagesError:
        if group.size == 1 or len(skipped) < len(mine):
            raise


def _order(bundle: Bundle, indices: tuple[int, ...], key: str) -> str:
    """A digest of the pass and its images one by one: a process takes its images by their place among them."""
    digest = hashlib.sha256(key.encode())
    for index in indices:
        digest.update(bundle.collection.items[index].image_hash.encode())
    return digest.hexdigest()


@dataclass
class _Place:
    """Where a run is: so many of its images are in the sums."""

    file: Path
    accumulator: Accumulator
    done: int = 0
    skipped: list[str] = field(default_factory=list)
    _adding: bool = False
    _saved_at: float = field(default_factory=time.monotonic)

    def restore(self) -> None:
        """Go to where an interrupted run stopped; a file that does not fit is removed."""
        stored = read_arrays(self.file)
        if stored is None:
            return
        before = self.accumulator.state()
        try:
            self.accumulator.restore(stored)
            self.done, self.skipped = int(stored["done"]), [str(path) for path in stored["skipped"]]
        except (KeyError, ValueError):
            self.accumulator.restore(before)  # of several jobs, some may have been restored
            self.done, self.skipped = 0, []
            self.forget()

    def add(self, images: Tensor, labels: list[int | None], done: int) -> None:
        """Add a batch, after which so many images are in the sums."""
        add = self.accumulator.scored(images, labels)
        self._adding = True  # sums with a part of a batch are never saved
        add()
        self.done, self._adding = done, False
        if time.monotonic() - self._saved_at > SAVE_SECONDS:
            self.save()

    @contextmanager
    def saved(self, *, always: bool) -> Iterator[None]:
        """Save when the body is interrupted; by an error of our own, which would come again, only if `always`."""
        try:
            yield
        except BaseException as error:
            if self.done and not self._adding and (always or not isinstance(error, ViscnnError)):
                self.save()
            raise

    def save(self) -> None:
        """Write place and sums, and remove what runs that nobody repeats have left."""
        _remove_old(self.file.parent)
        place = {"done": np.array(self.done), "skipped": np.array(self.skipped, dtype=np.str_)}
        write_arrays(self.file, {**self.accumulator.state(), **place})
        self._saved_at = time.monotonic()

    def forget(self) -> None:
        self.file.unlink(missing_ok=True)


def _stopped_folder() -> Path:
    return cache_folder() / "scores" / "stopped"


def _remove_old(folder: Path) -> None:
    """Remove files of stopped runs, and halves of killed ones, that are older than KEPT_SECONDS."""
    for file in folder.glob("*"):
        with contextlib.suppress(OSError):  # another process may be faster
            if time.time() - file.stat().st_mtime > KEPT_SECONDS:
                file.unlink()


def _batches(
    bundle: Bundle, indices: tuple[int, ...], skipped: list[str], *, start: int = 0, workers: int | None = None
) -> Generator[tuple[list[int], Tensor, list[int | None]]]:
    numbers = bundle.class_numbers()
    skip: Callable[[str, str], None] = lambda path, reason: skipped.append(path)  # noqa: E731
    where = device()
    read = stream(
        bundle.collection,
        indices,
        bundle.preprocess,
        batch_size=batch_size(bundle),
        start=start,
        workers=workers,
        on_skip=skip,
    )
    with closing(read):  # whatever ends this ends the workers
        for positions, images in read:
            yield positions, images.to(where), [numbers[indices[position]] for position in positions]


def image_batches(
    bundle: Bundle, indices: tuple[int, ...], skipped: list[str]
) -> Iterator[tuple[Tensor, list[int | None]]]:
    """Batches (N, C, H, W) on the CPU with the class number of each image, None where its label is no class."""
    for _, images, labels in _batches(bundle, indices, skipped):
        yield images.cpu(), labels


def batch_size(bundle: Bundle) -> int:
    """Images per batch, so that one copy of all maps stays near 64 MB."""
    floats = sum(layer.filters * layer.positions for layer in bundle.architecture.layers)
    return max(1, min(64, BATCH_FLOATS // floats))
