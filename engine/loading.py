"""From many pictures to batches: decoded in this process, or in workers that read ahead (torch's `DataLoader`).

Workers are forked from a server process that has loaded torch and runs no threads, so that they are safe below
Streamlit's threads and torch's. Single images travel to them, never the collection; they send uint8 pixels of a few
images at a time through shared memory, a quarter of the float32 tensors, which this process makes of them. So what
eight workers keep ready at 224 x 224 takes 32 MB, where a container has 64 MB of shared memory.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import torch
from PIL import Image, ImageFile
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from viscnn.engine.images import ImageCollection, Picture
from viscnn.engine.preprocess import Preprocess
from viscnn.errors import ConfigError, ImagesError

__all__ = ["WORTHWHILE", "cpus", "stream", "worker_count"]

WORTHWHILE = 5_000
"""Images from which on workers are started: below, their start costs more than it saves."""

_MOST_WORKERS = 8
_READ_AHEAD = 2  # parts of a worker that are decoded, or under way
_PART_BYTES = 2 * 1024**2
_PART_IMAGES = 8  # where the size of the pictures is not known

_starting = threading.Lock()


def worker_count(images: int) -> int:
    """Workers that decode so many images: VISCNN_WORKERS, else none for few images or a single CPU, else one per CPU
    but one, 8 at most. With several processes on one machine (torchrun) each has its share of the CPUs.

    Raises:
        ConfigError: VISCNN_WORKERS is not a whole number of 0 or more.
    """
    named = os.environ.get("VISCNN_WORKERS")
    if named and not (named.isascii() and named.isdigit()):
        raise ConfigError(f"VISCNN_WORKERS is {named!r}; give the number of processes that decode images, 0 for none")
    if multiprocessing.current_process().daemon:  # it may have no children
        return 0
    if named:
        return int(named)
    share = cpus() // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    return min(_MOST_WORKERS, max(0, share - 1)) if images >= WORTHWHILE else 0


def cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stream(
    collection: ImageCollection,
    indices: Sequence[int],
    preprocess: Preprocess,
    *,
    batch_size: int,
    start: int = 0,
    workers: int | None = None,
    on_skip: Callable[[str, str], None] = lambda path, reason: None,
) -> Generator[tuple[list[int], Tensor]]:
    """Images as batches, in order; every batch but the last is full.

    The same batches come with workers and without. Only what is read ahead is held, whatever the number of images.
    When a batch arrives, `on_skip` has been told of the images before its last position and of no others: a stopped
    run goes on with `start=positions[-1] + 1`. Closing the iterator ends the workers.

    Args:
        collection: where the images are read from.
        indices: images, by their position in `collection.items`.
        preprocess: applied to each picture.
        batch_size: images per batch.
        start: position in `indices` of the first image to read.
        workers: processes that decode; 0 decodes in this one; by `worker_count` when left out.
        on_skip: called with path and reason for every image that cannot be decoded; it is left out.

    Yields:
        Positions *in `indices`* of the batch's images, and their float32 tensor (n, C, H, W).

    Raises:
        ImagesError: no image at all, none that can be decoded (when starting at 0), images of unlike sizes in a
            batch, or a worker that was ended from outside.
        ConfigError: from `worker_count`.
    """
    if not indices:
        raise ImagesError("no images: the image set is empty")
    if batch_size < 1 or not 0 <= start <= len(indices):
        raise ImagesError(f"cannot read {len(indices)} images from image {start} on in batches of {batch_size}")
    count = worker_count(len(indices) - start) if workers is None else workers
    parts = _Parts(collection, indices[start:], _part_size(preprocess, batch_size))
    decoded = _decoded(parts, preprocess, count)
    for positions, pictures in _batches(collection, indices, decoded, batch_size, start, on_skip):
        yield positions, preprocess.normalise(torch.stack(pictures))


def _batches(
    collection: ImageCollection,
    indices: Sequence[int],
    decoded: Iterator[Tensor | str],
    batch_size: int,
    start: int,
    on_skip: Callable[[str, str], None],
) -> Iterator[tuple[list[int], list[Tensor]]]:
    first_flaw, any_read = "", False
    flaws: list[tuple[str, str]] = []  # since the last picture, not told yet
    positions: list[int] = []
    pictures: list[Tensor] = []
    for position, picture in enumerate(decoded, start=start):
        path = collection.items[indices[position]].path
        if isinstance(picture, str):
            first_flaw = first_flaw or picture
            flaws.append((path, picture))
            continue
        _tell(flaws, on_skip)
        _check_alike([*pictures[:1], picture], path)
        any_read = True
        positions.append(position)
        pictures.append(picture)
        if len(pictures) == batch_size:
            yield positions, pictures
            positions, pictures = [], []
    if pictures:
        yield positions, pictures
    _tell(flaws, on_skip)
    if not any_read and start == 0:
        raise ImagesError(f"none of the {len(indices)} images can be decoded: {first_flaw}")


def _tell(flaws: list[tuple[str, str]], on_skip: Callable[[str, str], None]) -> None:
    for path, reason in flaws:
        on_skip(path, reason)
    flaws.clear()


def _check_alike(pictures: Sequence[Tensor], path: str) -> None:
    sizes = [f"{each.shape[0]}x{each.shape[1]}" for each in pictures]
    if sizes[0] != sizes[-1]:
        raise ImagesError(f"images of unlike sizes ({path} is {sizes[-1]}, not {sizes[0]}); give the input size")


def _part_size(preprocess: Preprocess, batch_size: int) -> int:
    """Images that are decoded at a time: at most a batch, and at most 2 MB of pixels."""
    height, width = preprocess.size or (0, 0)
    fitting = _PART_BYTES // (height * width * preprocess.channels) if height else _PART_IMAGES
    return max(1, min(batch_size, fitting))


@dataclass(frozen=True)
class _Parts:
    """The images, not yet decoded, a few at a time."""

    collection: ImageCollection
    indices: Sequence[int]
    size: int

    def __iter__(self) -> Iterator[tuple[Picture, ...]]:
        for begin in range(0, len(self.indices), self.size):
            yield tuple(self.collection.reader(index) for index in self.indices[begin : begin + self.size])


@dataclass(frozen=True)
class _Decoder(Dataset[list[Tensor | str]]):
    """Decodes a part: runs of pictures of one size as uint8 (n, H, W, C), and for a flawed image its flaw."""

    preprocess: Preprocess

    def __getitem__(self, part: tuple[Picture, ...]) -> list[Tensor | str]:
        decoded: list[Tensor | str] = []
        run: list[Tensor] = []
        for picture in part:
            found = self._pixels(picture)
            if run and (isinstance(found, str) or found.shape != run[0].shape):
                decoded.append(_together(run))
                run = []
            if isinstance(found, str):
                decoded.append(found)
            else:
                run.append(found)
        return [*decoded, _together(run)] if run else decoded

    def _pixels(self, picture: Picture) -> Tensor | str:
        try:
            return torch.from_numpy(self.preprocess.pixels(picture.decode()))
        except ImagesError as error:
            return str(error)


def _together(run: list[Tensor]) -> Tensor:
    """One tensor. In a worker it is shared at once: where the loader did it, full shared memory would be a hang."""
    pictures = torch.stack(run)
    if get_worker_info() is not None:
        pictures.share_memory_()  # type: ignore[no-untyped-call]
    return pictures


def _decoded(parts: _Parts, preprocess: Preprocess, workers: int) -> Iterator[Tensor | str]:
    """Each image in order: its uint8 pixels (H, W, C), or why it cannot be decoded."""
    if not workers:
        for part in _loader(parts, preprocess):
            yield from _each(part)
        return
    iterator: Any = None
    try:
        with _without_main():
            iterator = iter(_loader(parts, preprocess, **_worker_options(workers)))
        for part in iterator:
            yield from _each(part)
    except (RuntimeError, OSError, EOFError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[-1]  # the last line of a worker's traceback
        raise ImagesError(
            f"a process that decodes images failed, for lack of memory perhaps ({reason}); VISCNN_WORKERS=0 decodes"
            " them in the main process"
        ) from error
    finally:
        if iterator is not None:  # not left to its `__del__`, which waits while an error's traceback is kept
            iterator._shutdown_workers()


def _each(part: list[Tensor | str]) -> Iterator[Tensor | str]:
    for run in part:
        if isinstance(run, str):
            yield run
        else:
            yield from run


def _loader(parts: _Parts, preprocess: Preprocess, **options: Any) -> "DataLoader[list[Tensor | str]]":
    """A generator of its own: the loader draws a seed, which must not shift the random numbers of the caller."""
    return DataLoader(
        _Decoder(preprocess),
        sampler=parts,
        batch_size=None,
        collate_fn=_as_it_is,
        generator=torch.Generator(),
        **options,
    )


def _as_it_is(part: list[Tensor | str]) -> list[Tensor | str]:
    return part


def _worker_options(workers: int) -> dict[str, Any]:
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if hasattr(context, "set_forkserver_preload"):
        context.set_forkserver_preload([__name__])
    return {
        "num_workers": workers,
        "multiprocessing_context": context,
        "prefetch_factor": _READ_AHEAD,
        "worker_init_fn": partial(_settle, Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES),
    }


def _settle(most_pixels: int | None, truncated: bool, worker: int) -> None:
    """Give a worker the caller's settings of Pillow, and let the caller end it: not Ctrl-C, but its own end does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Image.MAX_IMAGE_PIXELS = most_pixels
    ImageFile.LOAD_TRUNCATED_IMAGES = truncated
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """The fork server, which torch's own watch takes for the parent, lives as long as the workers do."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the main module while workers start: they would import it, and so run the caller's script again."""
    with _starting:
        main, bare = sys.modules["__main__"], ModuleType("__main__")
        sys.modules["__main__"] = bare
        try:
            yield
        finally:
            if sys.modules["__main__"] is bare:  # Streamlit puts the page there whenever it runs one
                sys.modules["__main__"] = main
