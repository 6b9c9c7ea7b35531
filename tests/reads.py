"""Images that are counted as they are read, reading that stops, and small batches."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests import toy
from viscnn.engine import streaming
from viscnn.engine.images import Picture

PER_BATCH = 2


def use_small_batches(monkeypatch: pytest.MonkeyPatch, home: Path, *, per_batch: int = PER_BATCH) -> None:
    """So many images of the toy network a batch, decoded in this process, and a cache of the test's own."""
    monkeypatch.setenv("VISCNN_HOME", str(home))
    monkeypatch.setenv("VISCNN_WORKERS", "0")
    bundle = toy.bundle_of(toy.toy_network(), None)
    floats = sum(layer.filters * layer.positions for layer in bundle.architecture.layers)
    monkeypatch.setattr(streaming, "BATCH_FLOATS", per_batch * floats)
    assert streaming.batch_size(bundle) == per_batch


def stopped_files() -> list[Path]:
    """What stopped runs have left in the cache."""
    return sorted(Path(os.environ["VISCNN_HOME"]).glob("cache/scores/stopped/*"))


class Reads:
    """The toy with pictures that are counted as they are read; a stopper is called before each of them."""

    def __init__(self, folder: Path, stopper: Callable[[int], None] = lambda count: None) -> None:
        self.bundle = toy.bundle_of(toy.toy_network(), folder)
        self.paths: list[str] = []
        collection = self.bundle.collection

        def counted(index: int) -> Picture:
            stopper(len(self.paths))
            self.paths.append(collection.items[index].path)
            return collection.reader(index)

        vars(self.bundle)["collection"] = replace(collection, reader=counted)


def stopping(at: int, error: BaseException) -> Callable[[int], None]:
    """A stopper that raises before so many images have been read."""

    def stop(count: int) -> None:
        if count == at:
            raise error

    return stop
