"""A toy model with images: as a bundle that runs, and written whole into Neo4j by the real loader and queries.

The toy graph has the uids that the query files have as defaults: model `toy` with layers conv1 and conv2, queries
`toy/query/one` and `toy/query/two`, circuit `toy/circuit/one`.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from tests import nets
from viscnn import VISCNN
from viscnn.config import Connection
from viscnn.engine.bundle import Bundle
from viscnn.engine.preprocess import Preprocess
from viscnn.graph import Graph
from viscnn.graph_exemplars import Exemplars, save_exemplars
from viscnn.graph_projections import save_profiles
from viscnn.graph_scores import activate_scores, save_importance
from viscnn.ingest.architecture import Architecture, read_architecture
from viscnn.ingest.load import drop_model, load_model
from viscnn.ingest.zoo import ZooModel, weights_hash

SHAPE = (1, 8, 8)
CLASSES = ("bee", "cat", "ant")
"""Not in the order of the folders, so that a label taken for a position is wrong."""

SOURCE = f"{nets.__file__}:toy"


def write_pictures(
    folder: Path, *, counts: dict[str, int], size: tuple[int, int] = (8, 8), channels: int = 1, seed: int = 0
) -> Path:
    """PNG files of random pixels: per key (`score/ant`, `check/bee`, or just `ant`) so many; returns the folder."""
    generator = np.random.default_rng(seed)
    for key, count in counts.items():
        (folder / key).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            shape = size if channels == 1 else (*size, channels)
            Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)).save(folder / key / f"{number:03}.png")
    return folder


def split_pictures(folder: Path, *, score: int = 4, check: int = 3, **settings: Any) -> Path:
    """Pictures of ant, bee and cat with a supplied split."""
    parts = {"score": score, "check": check}
    return write_pictures(
        folder,
        counts={f"{part}/{name}": count for part, count in parts.items() for name in sorted(CLASSES)},
        **settings,
    )


def toy_network() -> nn.Sequential:
    """The toy network with its fixed weights."""
    network = nets.seeded(nets.toy)
    assert isinstance(network, nn.Sequential)
    return network


def bundle_of(
    network: nn.Module,
    folder: Path | None,
    *,
    name: str = "toy",
    shape: tuple[int, int, int] = SHAPE,
    classes: tuple[str, ...] = CLASSES,
) -> Bundle:
    """A network ready to run on the pictures of a folder, which it sees in one channel."""
    return Bundle(
        name=name,
        architecture=read_architecture(network, shape),
        classes=classes,
        preprocess=Preprocess(size=shape[1:], mode="L", mean=(0.4,), std=(0.3,)),
        weights_hash=weights_hash(network),
        images=None if folder is None else str(folder),
    )


def pixels(path: Path) -> torch.Tensor:
    """A toy picture as the toy bundle's model sees it, float64 (1, H, W): (pixels / 255 - 0.4) / 0.3."""
    return torch.from_numpy((np.asarray(Image.open(path), dtype=np.float64)[None] / 255 - 0.4) / 0.3)


def zoo_of(network: nn.Module, shape: tuple[int, int, int], *, classes: tuple[str, ...] = CLASSES) -> ZooModel:
    """A network as the loader takes it."""
    preprocess: dict[str, Any] = {"size": list(shape[1:]), "resize": None, "mode": "L" if shape[0] == 1 else "RGB"}
    preprocess |= {"scale": 1 / 255, "mean": [0.4] * shape[0], "std": [0.3] * shape[0]}
    return ZooModel(network, type(network).__name__, shape, classes, preprocess, None, weights_hash(network))


@contextmanager
def stored(
    graph: Graph, name: str, network: nn.Module, shape: tuple[int, int, int], **settings: Any
) -> Iterator[Architecture]:
    """A network in the graph, removed at the end."""
    architecture = read_architecture(network, shape)
    load_model(graph, name, zoo_of(network, shape, **settings), architecture)
    try:
        yield architecture
    finally:
        drop_model(graph, name, missing_ok=True)


@contextmanager
def ingested(server: Connection, name: str, folder: Path, **settings: Any) -> Iterator[VISCNN]:
    """A session with the toy network in the graph, ingested with the pictures of a folder; removed at the end."""
    own: dict[str, Any] = {"input_shape": SHAPE, "classes": CLASSES, "mean": (0.4,), "std": (0.3,)}
    with VISCNN(server) as session:
        session.ingest(SOURCE, name=name, weights="random", images=str(folder), **own, **settings)
        try:
            yield session
        finally:
            session.drop(name)


def score_rows(name: str, architecture: Architecture, *, seed: int) -> list[dict[str, Any]]:
    """Random scores of all filters and kernels, some of them negative, as rows of `write/save_scores`."""
    generator = np.random.default_rng(seed)
    return [
        {
            "uid": f"{name}/{layer.name}/{channel}",
            "score": float(generator.normal(1, 0.7)),
            "kernelScores": generator.normal(1, 0.7, layer.inputs).tolist(),
        }
        for layer in architecture.layers
        for channel in range(layer.filters)
    ]


def save_query(
    graph: Graph, name: str, architecture: Architecture, uid: str, *, seed: int, signed: bool = False
) -> list[dict[str, Any]]:
    """Store a complete query of random scores; returns its rows."""
    rows = score_rows(name, architecture, seed=seed)
    properties = {
        "text": f"{uid} -> loss [taylor]",
        "input": uid.rpartition("/")[2],
        "output": "loss",
        "criterion": "taylor-signed" if signed else "taylor",
        "signed": signed,
        "parameters": json.dumps({}),
        "images": 4,
        "imagesHash": f"hash-{seed}",
        "effectiveImages": 3.5,
        "createdAt": f"2026-01-01T00:00:0{seed}.000+00:00",
        "seconds": 0.5,
    }
    graph.write("write/save_query", model=name, uid=uid, properties=properties)
    assert write_scores(graph, uid, rows) == len(rows)
    assert graph.read("read/query", uid=uid)[0]["status"] == "complete"
    return rows


def write_scores(graph: Graph, uid: str, rows: list[dict[str, Any]]) -> int:
    """Write the scores of a query anew, and finish it; how many filters have some then."""
    run = graph.stream("write/start_scores", uid=uid)[0]["run"]
    assert graph.write("write/save_scores", uid=uid, run=run, rows=rows)[0]["mine"]
    return int(graph.write("write/finish_scores", uid=uid, run=run, filters=len(rows))[0]["written"])


def exemplars(name: str, architecture: Architecture, *, key: str = "of-the-toy", images: int = 2) -> Exemplars:
    """Exemplars as lists: of so many images every filter likes `1.png` best, then `2.png`, and the last one least."""
    paths = [f"{number}.png" for number in range(1, images + 1)]
    uids = [f"{name}/image/{path}" for path in paths]
    values = [float(images - number) for number in range(images)]
    return Exemplars(
        key=key,
        looked_at=12,
        count=images,
        filters=sum(layer.filters for layer in architecture.layers),
        images=[{"uid": f"{name}/image/{path}", "path": path, "label": "ant", "hash": path} for path in paths],
        rows=[
            {
                "uid": f"{name}/{layer.name}/{channel}",
                "images": uids + uids[::-1],
                "activations": values + [-value for value in values],
                "rows": [channel] * 2 * images,
                "columns": [0] * 2 * images,
            }
            for layer in architecture.layers
            for channel in range(layer.filters)
        ],
    )


@dataclass(frozen=True)
class Toy:
    """The toy graph: its network, and the rows of its two queries' scores."""

    architecture: Architecture
    one: list[dict[str, Any]]
    two: list[dict[str, Any]]


@contextmanager
def toy_graph(graph: Graph) -> Iterator[Toy]:
    """The toy graph, removed at the end."""
    with stored(graph, "toy", toy_network(), SHAPE) as architecture:
        one = save_query(graph, "toy", architecture, "toy/query/one", seed=1)
        two = save_query(graph, "toy", architecture, "toy/query/two", seed=2)
        save_importance(graph, "toy/query/two")
        activate_scores(graph, "toy/query/one")
        profiles = [(f"toy/{layer.name}", np.eye(layer.filters, 3)) for layer in architecture.layers]
        save_profiles(graph, "toy", profiles, CLASSES, profiles="of-the-toy", images=12)
        save_exemplars(graph, "toy", exemplars("toy", architecture))
        sets = [{"name": each, "images": 4, "hash": f"hash-{each}"} for each in ("overall", *CLASSES)]
        graph.write("write/save_image_sets", model="toy", rows=sets)
        graph.write("write/save_own_image_set", model="toy", name="my ants", hash="mine", paths=["ant/1.png"])
        graph.write(
            "write/save_circuit",
            uid="toy/circuit/one",
            properties={
                "model": "toy",
                "target": "filter:toy/conv2/0",
                "targetLayers": ["conv2"],
                "query": "toy/query/one",
                "keptFraction": 0.5,
                "kernels": 4,
                "filters": 3,
                "pearson": 0.9,
                "pearsonRandom": 0.3,
                "pearsonWorst": 0.1,
                "checkImages": 3,
                "createdAt": "2026-01-01T00:00:00+00:00",
            },
            rows=[
                {"uid": "toy/conv1/1", "kernelInputs": [0]},
                {"uid": "toy/conv1/3", "kernelInputs": [0]},
                {"uid": "toy/conv2/0", "kernelInputs": [1, 3]},
            ],
        )
        yield Toy(architecture, one, two)


def kernel_scores(rows: list[dict[str, Any]]) -> dict[tuple[str, str, int], float]:
    """Score by source, target and input, of the toy network's dense chain."""
    names = {"conv1": ["toy/input/gray"], "conv2": [f"toy/conv1/{i}" for i in range(4)]}
    return {
        (names[row["uid"].split("/")[1]][i], row["uid"], i): score
        for row in rows
        for i, score in enumerate(row["kernelScores"])
    }


def uids(rows: list[dict[str, Any]]) -> set[tuple[str, ...]]:
    """The uids along the paths of some rows."""
    return {tuple(node["properties"]["uid"] for node in row["path"]["nodes"]) for row in rows}


def snapshot(graph: Graph) -> tuple[list[str], list[str]]:
    """Everything that is stored: nodes with labels and properties, relationships with ends and properties."""
    nodes = graph.fetch("MATCH (n) RETURN labels(n) AS l, properties(n) AS p", {}, limit=10**6, timeout=60)
    edges = graph.fetch(
        "MATCH (a)-[r]->(b) RETURN type(r) AS t, properties(r) AS p,"
        " coalesce(a.uid, a.name) AS a, coalesce(b.uid, b.name) AS b",
        {},
        limit=10**6,
        timeout=60,
    )
    return sorted(repr(_ordered(row)) for row in nodes.rows), sorted(repr(_ordered(row)) for row in edges.rows)


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return [(key, _ordered(each)) for key, each in sorted(value.items())]
    return [_ordered(each) for each in value] if isinstance(value, list | tuple) else value
