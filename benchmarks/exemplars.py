"""What finding exemplars costs beside the forward pass that it needs, and what storing them costs.

    python benchmarks/exemplars.py [NET ...] [--images 1000] [--count 9] [--rounds 1] [--memory] [--store] [--json]

For every net (bundled, or of $VISCNN_DATA), batch by batch, in turns: the model itself on the images (`plain`, in
inference mode), and the pass that finds the exemplars of all filters (`found`). Printed are the ratio of their sums,
and the time that reading and decoding took, which both need. `--memory`: the most memory that a pass over a tenth of
the images, and over all of them, takes. `--store`: the net is ingested, and its exemplars found and stored by the API.
"""

import argparse
import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from measure import Growth
from running_server import connected
from torch import Tensor, nn

from viscnn import VISCNN
from viscnn.engine.bundle import Bundle
from viscnn.engine.extremes import Accumulator, extremes
from viscnn.engine.preprocess import Preprocess
from viscnn.engine.streaming import batch_size, image_batches
from viscnn.ingest.architecture import read_architecture
from viscnn.ingest.zoo import Recipe, build, class_names

NETS = ("cifar10",)


def bundle_of(name: str) -> tuple[Bundle, nn.Module]:
    """A net of the zoo ready to run, and the module as its author wrote it."""
    zoo = build(Recipe(name))
    architecture = read_architecture(zoo.module, zoo.input_shape, check=False)
    classes = class_names(zoo.classes, architecture.logits)
    preprocess = Preprocess.from_json(zoo.preprocess)
    return Bundle(name, architecture, classes, preprocess, zoo.weights_hash, zoo.images), zoo.module.eval()


def measured(name: str, images: int, count: int, rounds: int) -> dict[str, Any]:
    """Medians over some rounds: seconds of the plain pass and of ours, and of their ratio; and all ratios."""
    bundle, module = bundle_of(name)
    indices = bundle.collection.select("overall", None, images or None)
    runs = [_round(bundle, module, indices, count) for _ in range(rounds)]
    ratios = [found / plain for plain, found, _ in runs]
    plain, found, reading = (round(median(values), 2) for values in zip(*runs, strict=True))
    return {
        "net": name,
        "images": len(indices),
        "filters": sum(layer.filters for layer in bundle.architecture.layers),
        "batch": batch_size(bundle),
        "plain_s": plain,
        "found_s": found,
        "ratio": round(median(ratios), 3),
        "ratios": [round(each, 3) for each in ratios],
        "reading_s": reading,
    }


def _round(bundle: Bundle, module: nn.Module, indices: tuple[int, ...], count: int) -> tuple[float, float, float]:
    """Seconds of the plain pass, of ours over the same batches in turns, and of reading."""
    found = Accumulator(bundle, count)
    work: list[Callable[[Tensor], object]] = [
        lambda batch: _plain(module, batch),
        lambda batch: found.scored(batch, [])(),
    ]
    for each in work:  # what is set up once is no part of the pace
        each(next(image_batches(bundle, indices, []))[0])
    found = Accumulator(bundle, count)
    seconds, began = [0.0, 0.0], time.perf_counter()
    for number, (batch, _) in enumerate(image_batches(bundle, indices, [])):
        for which in (0, 1) if number % 2 else (1, 0):
            started = time.perf_counter()
            work[which](batch)
            seconds[which] += time.perf_counter() - started
    return seconds[0], seconds[1], time.perf_counter() - began - sum(seconds)


def memory(name: str, images: int, count: int) -> dict[str, Any]:
    """MiB that a pass takes above what the net takes, over a tenth of the images and over all."""
    bundle, _ = bundle_of(name)
    indices = bundle.collection.select("overall", None, images or None)
    peaks = []
    for chosen in (indices[: max(1, len(indices) // 10)], indices):
        with Growth() as growth:
            extremes(bundle, chosen, count, key=f"benchmark {time.time()}")
        peaks.append(None if growth.mib is None else round(growth.mib, 1))
    return {"tenth_mib": peaks[0], "all_mib": peaks[1]}


def stored(name: str, images: int, count: int) -> dict[str, Any]:
    """Seconds of finding and storing by the API, and of storing alone."""
    with connected() as graph, VISCNN(graph.connection) as session:
        if name not in {model["name"] for model in session.models()}:
            session.ingest(name, importance=False)
        writing: list[float] = []
        report = session.find_exemplars(
            name,
            count=count,
            max_images=images,
            progress=lambda step, done, total: writing.append(time.monotonic()) if step.startswith("storing") else None,
        )
        return {
            "api_s": round(report.seconds, 2),
            "exemplars": 2 * report.count * report.filters,
            "storing_s": round(writing[-1] - writing[0], 2),
        }


def _plain(module: nn.Module, batch: Tensor) -> object:
    with torch.inference_mode():
        return module(batch)


def main() -> None:
    """Measure every net that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", default=NETS, metavar="NET")
    parser.add_argument("--images", type=int, default=1000, help="at most so many; 0 for all")
    parser.add_argument("--count", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--memory", action="store_true", help="once more over the images, for the memory")
    parser.add_argument("--store", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = []
    for name in given.nets:
        row = measured(name, given.images, given.count, given.rounds)
        if given.memory:
            row |= memory(name, given.images, given.count)
        if given.store:
            row |= stored(name, given.images, given.count)
        rows.append(row)
        if not given.json:
            print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    if given.json:
        print(json.dumps({"threads": torch.get_num_threads(), "rows": rows}))


if __name__ == "__main__":
    main()
