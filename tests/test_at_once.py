"""Visitors who look at one model at once see what they would see one after another."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from tests import nets, toy
from viscnn import VISCNN
from viscnn.config import Connection
from viscnn.engine.capture import record
from viscnn.ingest.architecture import read_architecture
from viscnn.ui import data

MODEL = "shared"
UIDS = [f"{MODEL}/conv1/{channel}" for channel in range(4)] + [f"{MODEL}/conv2/{channel}" for channel in range(3)]


@pytest.fixture(scope="module")
def v(server: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VISCNN]:
    with toy.ingested(server, MODEL, toy.split_pictures(tmp_path_factory.mktemp("shared"))) as session:
        yield session
    data.reconnect()


def questions(v: VISCNN) -> list[Callable[[], Any]]:
    """Maps, kernel maps and interventions of several images."""
    found: list[Callable[[], Any]] = []
    for number, path in enumerate(v.image_paths(MODEL)[:6]):
        uid = UIDS[number % len(UIDS)]
        kernel = (f"{MODEL}/conv1/{number % 4}", f"{MODEL}/conv2/{number % 3}")
        found += [
            partial(v.activation, uid, path),
            partial(edge, v, kernel, path),
            partial(told, v, path, {UIDS[0]: 0.0}),
            partial(told, v, path, {" -> ".join(kernel): -2.0}),
        ]
    return found


def edge(v: VISCNN, kernel: tuple[str, str], path: str) -> Any:
    return v.kernel_maps([kernel], path)[0].edge


def told(v: VISCNN, path: str, factors: dict[str, float]) -> Any:
    response = v.intervene(MODEL, path, factors, watch=UIDS[4:5])
    assert response.logits is not None
    return np.concatenate([[response.before, response.after], response.logits.ravel(), response.maps[UIDS[4]].ravel()])


def test_two_at_once_see_what_they_would_see_alone(v: VISCNN) -> None:
    asked = questions(v)
    alone = [ask() for ask in asked]
    with ThreadPoolExecutor(2) as visitors:
        for _ in range(5):
            started = threading.Barrier(2)

            def all_of(order: int, started: threading.Barrier = started) -> list[Any]:
                started.wait()
                return [ask() for ask in asked[::order]][::order]

            for found in visitors.map(all_of, (1, -1)):
                for one, other in zip(found, alone, strict=True):
                    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_maps_are_looked_at_while_another_s_query_runs(v: VISCNN) -> None:
    """The page asks no lock for maps: a long query of another visitor does not hold them up."""
    path = v.image_paths(MODEL)[0]
    at_work, seen = threading.Event(), threading.Event()

    def progress(step: str, done: int, total: int) -> None:
        at_work.set()
        assert seen.wait(30), "the maps waited for the query"

    def query() -> None:
        settings: dict[str, Any] = {"model": MODEL, "output": None, "criterion": "taylor", "max_images": 3}
        data.run_query("cat - ant", progress=progress, **settings)

    with ThreadPoolExecutor(1) as other:
        running = other.submit(query)
        assert at_work.wait(30)
        stamp = data.stamp(MODEL)
        np.testing.assert_allclose(data.activation(stamp, UIDS[4], path), v.activation(UIDS[4], path), rtol=1e-5)
        data.kernel_maps(stamp, ((UIDS[0], UIDS[4]),), path)
        data.intervene(stamp, MODEL, path, {UIDS[0]: 0.0}, output=None, watch=())
        seen.set()
        running.result()


def test_a_model_runs_while_another_one_is_traced() -> None:
    """torch.fx exchanges methods of `nn.Module` for the whole process while it traces."""
    tracing, ran = threading.Event(), threading.Event()

    class Waiting(nn.Module):
        """Its trace goes on when the other model has run."""

        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 3, 3)

        def forward(self, images: Tensor) -> Any:
            maps = self.conv1(images)
            if isinstance(images, fx.Proxy):
                tracing.set()
                assert ran.wait(30)
            return self.conv2(maps)

    architecture, images = read_architecture(nets.make("plain"), nets.INPUT), nets.images(2)
    alone = record(architecture, images, gradients=False).output
    with ThreadPoolExecutor(1) as visitor:
        other = visitor.submit(read_architecture, nets.seeded(Waiting), nets.INPUT)
        assert tracing.wait(30)
        try:
            found = record(architecture, images, gradients=False).output
        finally:
            ran.set()
        assert found is not None
        assert alone is not None
        torch.testing.assert_close(found, alone)
        assert [layer.name for layer in other.result().layers] == ["conv1", "conv2"]


def test_a_model_is_built_once_for_visitors_who_come_together(v: VISCNN, server: Connection) -> None:
    with VISCNN(server) as new, ThreadPoolExecutor(4) as visitors:
        started = threading.Barrier(4)

        def bundle(_: int) -> Any:
            started.wait()
            return new.bundle(MODEL).architecture.module

        assert len({id(each) for each in visitors.map(bundle, range(4))}) == 1
