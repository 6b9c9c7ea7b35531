"""Which scale makes the best circuits? Held-out Pearson r on the bundled networks.

    python benchmarks/circuit_scales.py [--filters 6] [--models mnist cifar10]

For each network some filters of each layer from the second on are targets; scores are `taylor` of `overall`
towards the filter. Printed: median r over the targets, beside random controls of the same size. No graph is needed.
"""

import argparse
import itertools

import numpy as np

from viscnn.engine.bundle import Bundle
from viscnn.engine.circuit import layer_network, target_numbers
from viscnn.engine.output import parse_output
from viscnn.engine.preprocess import Preprocess
from viscnn.engine.run import QuerySpec, score_query
from viscnn.engine.selection import SCALES, select
from viscnn.engine.target import resolve
from viscnn.engine.verify import VerifySpec, verify
from viscnn.ingest.architecture import read_architecture
from viscnn.ingest.zoo import Recipe, build

KEEPS = (0.05, 0.1, 0.2, 0.4)


def bundled(name: str) -> Bundle:
    zoo = build(Recipe(name))
    architecture = read_architecture(zoo.module, zoo.input_shape)
    return Bundle(name, architecture, zoo.classes, Preprocess.from_json(zoo.preprocess), zoo.weights_hash, zoo.images)


def targets(bundle: Bundle, per_layer: int) -> list[str]:
    return [
        f"{bundle.name}/{layer.name}/{channel}"
        for layer in bundle.architecture.layers[1:]
        for channel in np.linspace(0, layer.filters - 1, per_layer).astype(int).tolist()
    ]


Results = dict[tuple[object, ...], list[float]]


def measure(bundle: Bundle, uid: str, ablations: tuple[str, ...], results: Results) -> None:
    target = resolve(
        parse_output(f"filter:{uid}"), model=bundle.name, architecture=bundle.architecture, classes=bundle.classes
    )
    query = score_query(bundle, QuerySpec("overall", f"filter:{uid}", "taylor", 200))
    network = layer_network(bundle.name, bundle.architecture, list(query.kernels))
    goal, sources = target_numbers(bundle.architecture, target), np.arange(bundle.architecture.input_shape[0])
    for scale, keep, ablation in itertools.product(SCALES, KEEPS, ablations):
        selection = select(network, goal, sources, keep=keep, scale=scale)
        spec = VerifySpec(ablation=ablation, max_images=64, random_controls=1)
        evidence = verify(bundle, query, target, network, selection, goal, sources, spec)
        results.setdefault((bundle.name, ablation, keep, scale), []).append(evidence.pearson)
        results.setdefault((bundle.name, ablation, keep, f"random {scale}"), []).append(evidence.pearson_random)
        results.setdefault((bundle.name, ablation, keep, f"magnitude {scale}"), []).append(evidence.pearson_magnitude)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filters", type=int, default=6)
    parser.add_argument("--models", nargs="+", default=["mnist", "cifar10"])
    parser.add_argument("--ablations", nargs="+", default=["zero", "mean"])
    arguments = parser.parse_args()
    results: Results = {}
    for name in arguments.models:
        bundle = bundled(name)
        for uid in targets(bundle, arguments.filters):
            measure(bundle, uid, tuple(arguments.ablations), results)
    columns = [f"{control}{scale}" for control in ("", "random ", "magnitude ") for scale in SCALES]
    print("median r".ljust(24), *(column.rjust(18) for column in columns))
    for key in sorted({each[:3] for each in results}, key=str):
        cells = [f"{np.nanmedian(results[(*key, column)]):18.3f}" for column in columns]
        print(" ".join(map(str, key)).ljust(24), *cells)


if __name__ == "__main__":
    main()
