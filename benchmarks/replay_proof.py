"""One torchvision builder, proven by replay: read as layers and feeds, and its maps rebuilt from rows or from Neo4j.

    python benchmarks/replay_proof.py NAME [--neo4j]

Prints one JSON object. `replay_table.py` runs it for every builder, each in a process of its own, so that memory is
free again between them.
"""

import argparse
import contextlib
import copy
import dataclasses
import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from running_server import connected
from torch import Tensor, nn

from viscnn.engine.bundle import Bundle
from viscnn.engine.preprocess import Preprocess
from viscnn.engine.replay import TOLERANCE, ReplayReport, replay
from viscnn.engine.replay_rows import replay_rows
from viscnn.engine.sources import open_source
from viscnn.errors import ImagesError, ModelError, StoredDataError
from viscnn.ingest.architecture import Architecture, read_architecture
from viscnn.ingest.load import drop_model, load_model
from viscnn.ingest.zoo import Recipe, ZooModel, build

SIZES = range(64, 321, 32)
IMAGES, CALIBRATION_IMAGES = 4, 8
SOURCES = ("bundled:imagenet-sample", "bundled:mnist")
"""The first of these that this machine has."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="a torchvision builder")
    parser.add_argument("--neo4j", action="store_true", help="through Neo4j; else from the row stream")
    arguments = parser.parse_args()
    print(json.dumps(proof(arguments.name, neo4j=arguments.neo4j)))


def proof(name: str, *, neo4j: bool) -> dict[str, Any]:
    """What the table says of a builder, or why it was refused."""
    began = time.perf_counter()
    torch.set_num_threads(1)
    zoo = build(Recipe(name, weights="random"))
    drawn_anew(zoo.module)
    size = smallest_input(zoo.module)
    calibrated(zoo.module, pictures(size, CALIBRATION_IMAGES))
    images = pictures(size, IMAGES)
    found: dict[str, Any] = {"name": name, "input": size}
    try:
        architecture = read_architecture(zoo.module, (3, size, size))
        found |= facts(architecture) | output_error(zoo.module, architecture.module, images)
        zoo = dataclasses.replace(zoo, module=nn.Identity())  # its copy in the architecture is all that is needed
        report = through_neo4j(zoo, architecture, images) if neo4j else replay_rows(architecture, images)
        found |= errors(report)
        if not neo4j and not report.exact:  # rounding, or wrong?
            found["doubleError"] = in_double(architecture, images).worst
    except (ModelError, StoredDataError) as error:
        found["refused"] = str(error)
    seconds = round(time.perf_counter() - began, 1)
    return found | {"seconds": seconds, "peakMiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


def output_error(model: nn.Module, traced: nn.Module, images: Tensor) -> dict[str, float]:
    """How far the network that was read, with its BatchNorms folded, is from the builder's own module."""

    def difference(first: nn.Module, second: nn.Module, x: Tensor) -> float:
        with torch.no_grad():
            own, found = first(x), second(x)
        return float((own - found).abs().max() / own.abs().max())

    found = {"outputError": difference(model, traced, images)}
    if found["outputError"] > TOLERANCE:  # rounding, or wrong?
        found["outputDoubleError"] = difference(
            copy.deepcopy(model).double(), copy.deepcopy(traced).double(), images.double()
        )
    return found


def drawn_anew(module: nn.Module) -> None:
    """Parameters that a builder leaves constant, at random: else a scale or shift that is lost would not be seen."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        values = parameter.detach()
        if values.numel() and bool((values == values.flatten()[0]).all()):
            drawn = torch.rand(values.shape, generator=generator)
            values.copy_(drawn * 0.2 - 0.1 if float(values.flatten()[0]) == 0 else drawn + 0.5)


def smallest_input(module: nn.Module) -> int:
    """The smallest of `SIZES` at which every weight of every kernel meets a pixel, and not padding alone."""
    for size in SIZES:
        with contextlib.suppress(RuntimeError):
            if all_weights_count(module, size):
                return size
    raise ModelError(f"no input of {SIZES[0]} to {SIZES[-1]} pixels is accepted")


def all_weights_count(module: nn.Module, size: int) -> bool:
    """Whether each row and column of each kernel lies within the maps somewhere; RuntimeError if they are too small."""
    counts = []

    def look(each: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(each, nn.Conv2d)
        assert not isinstance(each.padding, str)
        for axis in (0, 1):
            tops = [o * each.stride[axis] - each.padding[axis] for o in range(output.shape[2 + axis])]
            rows = [tap * each.dilation[axis] for tap in range(each.kernel_size[axis])]
            counts.append(all(any(0 <= top + row < inputs[0].shape[2 + axis] for top in tops) for row in rows))

    hooks = [each.register_forward_hook(look) for each in module.modules() if isinstance(each, nn.Conv2d)]
    try:
        with torch.no_grad():
            module(torch.zeros(1, 3, size, size))
    finally:
        for hook in hooks:
            hook.remove()
    return all(counts)


def pictures(size: int, count: int) -> Tensor:
    """Real images (count, 3, size, size) as torchvision's models want them."""
    collection = None
    for source in SOURCES:
        with contextlib.suppress(ImagesError):
            collection = collection or open_source(source)
    assert collection is not None
    wanted = Preprocess(size=(size, size), resize=size, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    return torch.stack([wanted.apply(collection.read(each)) for each in collection.select("overall", None, count)])


def calibrated(module: nn.Module, images: Tensor) -> None:
    """BatchNorm statistics that keep the maps of these images from vanishing or exploding, however deep the network.

    Those of noise as well: the reader checks itself on it.
    The variance is the mean square of what a norm reads, the mean a random part of its root: with the true mean, which
    a trained network can afford, rounding would grow by a fifth with every layer of a random one.
    """
    generator = torch.Generator().manual_seed(0)

    def set_statistics(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_var is not None
        assert norm.running_mean is not None
        norm.running_var.copy_(inputs[0].square().mean((0, 2, 3)))
        part = torch.rand(norm.num_features, generator=generator) * 0.6 - 0.3
        norm.running_mean.copy_(norm.running_var.sqrt() * part)

    norms = [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]
    hooks = [each.register_forward_pre_hook(set_statistics) for each in norms]
    noise = torch.randn(images.shape, generator=generator)
    with torch.no_grad():
        module(torch.cat([images, noise]))
    for hook in hooks:
        hook.remove()


def through_neo4j(zoo: ZooModel, architecture: Architecture, images: Tensor) -> ReplayReport:
    """Stored, replayed and removed again."""
    name = f"replay-{zoo.architecture.partition('.')[2]}"
    stored = dataclasses.replace(zoo, input_shape=architecture.input_shape)
    with connected() as graph, removed(graph, name):
        load_model(graph, name, stored, architecture, replace=True)
        return replay(graph, Bundle(name, architecture, zoo.classes, Preprocess(), zoo.weights_hash, None), images)


@contextlib.contextmanager
def removed(graph: Any, name: str) -> Iterator[None]:
    """Whatever happens, the model is not there at the end."""
    try:
        yield
    finally:
        drop_model(graph, name, missing_ok=True)


def in_double(architecture: Architecture, images: Tensor) -> ReplayReport:
    """The same weights in double precision, on both sides."""
    module = copy.deepcopy(architecture.module).double()
    return replay_rows(dataclasses.replace(architecture, module=module), images.double())


def facts(architecture: Architecture) -> dict[str, Any]:
    """How many of each thing there are."""
    sums = sum(layer.is_sum for layer in architecture.layers)
    return {
        "layers": len(architecture.layers) - sums,
        "sums": sums,
        "gates": sum(layer.gate for layer in architecture.layers),
        "kernels": architecture.kernels,
    }


def errors(report: ReplayReport) -> dict[str, Any]:
    """The largest error and its layer."""
    layer = max(report.errors, key=report.errors.__getitem__)
    return {"error": report.worst, "errorLayer": layer, "exact": report.worst <= TOLERANCE}


if __name__ == "__main__":
    main()
