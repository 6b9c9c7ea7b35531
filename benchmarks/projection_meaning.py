"""Whether places mean anything: do filters for animals and filters for vehicles stand apart (paper, Fig. 5)?

    python benchmarks/projection_meaning.py [NET ...] [--per-class 50] [--last 6] [--permutations 200]

For every net (cifar10; googlenet-bvlc of $VISCNN_DATA) its last layers of 16 filters or more are placed by each kind of
projection. A filter is *for animals* if its class profile (`taylor` towards the loss) is larger for animals than for
vehicles, relative to their sum and to the layer's median; else *for vehicles*. So half of the filters are on either
side. Of a linear separator on (u, v), logistic regression in five folds, the area under the ROC curve is printed, and
as the control the mean and the 95th percentile of the same with permuted labels. Labels come from images that had no
part in the places where there are enough: CIFAR-10's from `--per-class` others of each class.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from projection import bundle_of
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, permutation_test_score

from viscnn.config import cache_folder
from viscnn.engine.bundle import Bundle
from viscnn.engine.profiles import class_profiles
from viscnn.engine.projections.layer import place
from viscnn.engine.projections.project import METHODS as ALL
from viscnn.engine.projections.sources import exemplar_vectors, kernel_vectors

NETS = ("cifar10", "googlenet-bvlc")
METHODS = {name: how for name, how in ALL.items() if how[0] != "visualisations"}
"""Those that need no rendered visualisations."""
SEED, FOLDS, SMALLEST = 0, 5, 16
CIFAR_VEHICLES = ("airplane", "automobile", "ship", "truck")
IMAGENET_ANIMALS = 398
"""The first classes of ImageNet are the animals, tench to puffer."""
IMAGENET_VEHICLES = [
    "aircraft carrier",
    "airliner",
    "airship",
    "ambulance",
    "amphibian",
    "beach wagon",
    "bicycle-built-for-two",
    "bobsled",
    "bullet train",
    "cab",
    "canoe",
    "catamaran",
    "container ship",
    "convertible",
    "electric locomotive",
    "fire engine",
    "fireboat",
    "forklift",
    "freight car",
    "garbage truck",
    "go-kart",
    "golfcart",
    "gondola",
    "half track",
    "horse cart",
    "jeep",
    "jinrikisha",
    "lifeboat",
    "limousine",
    "liner",
    "minibus",
    "minivan",
    "Model T",
    "moped",
    "motor scooter",
    "mountain bike",
    "moving van",
    "oxcart",
    "passenger car",
    "pickup",
    "pirate",
    "police van",
    "racer",
    "recreational vehicle",
    "school bus",
    "schooner",
    "snowmobile",
    "snowplow",
    "space shuttle",
    "speedboat",
    "sports car",
    "steam locomotive",
    "streetcar",
    "submarine",
    "tank",
    "tow truck",
    "tractor",
    "trailer truck",
    "tricycle",
    "trimaran",
    "trolleybus",
    "unicycle",
    "warplane",
    "yawl",
]

Vectors = list[NDArray[Any]]


def groups(classes: tuple[str, ...]) -> tuple[list[int], list[int]]:
    """Numbers of the animals and of the vehicles."""
    if len(classes) == 10:
        vehicles = [classes.index(each) for each in CIFAR_VEHICLES]
        return [number for number in range(10) if number not in vehicles], vehicles
    return list(range(IMAGENET_ANIMALS)), [classes.index(each) for each in IMAGENET_VEHICLES]


def images(bundle: Bundle, per_class: int, *, others: bool) -> tuple[int, ...]:
    """The first so many images of each class, or those behind them; the first again where a class has not so many."""
    of_class: dict[int, list[int]] = defaultdict(list)
    for index, number in enumerate(bundle.class_numbers()):
        if number is not None:
            of_class[number].append(index)
    enough = min(map(len, of_class.values())) >= 2 * per_class
    first = per_class if others and enough else 0
    return tuple(sorted(index for each in of_class.values() for index in each[first : first + per_class]))


def vectors(bundle: Bundle, kind: str, chosen: tuple[int, ...], label: str) -> Vectors:
    """Per layer what filters are compared by; what takes passes over images is kept in the cache folder."""
    if kind == "kernels":
        return list(kernel_vectors(bundle.architecture))
    kept = cache_folder() / f"meaning-{bundle.name}-{bundle.weights_hash[:12]}-{kind}-{label}.npz"
    if kept.exists():
        with np.load(kept) as stored:
            return [stored[str(number)] for number in range(len(stored.files))]
    found = exemplar_vectors(bundle, chosen) if kind == "exemplars" else class_profiles(bundle, chosen).filters
    np.savez(kept, **{str(number): each for number, each in enumerate(found)})
    return list(found)


def for_animals(profiles: NDArray[Any], classes: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which of the live filters with these profiles (filters, classes) matter more to animals than the median does."""
    animals, vehicles = (profiles[:, each].mean(axis=1) for each in groups(classes))
    contrast = (animals - vehicles) / (animals + vehicles)
    return np.asarray(contrast > np.median(contrast))


def rows(bundle: Bundle, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Per method and layer the area under the curve, and that of the control."""
    first, others = (images(bundle, options.per_class, others=each) for each in (False, True))
    same = "same" if others == first else "other"
    labels = vectors(bundle, "classes", others, f"{options.per_class}-{same}")
    layers = [number for number, layer in enumerate(bundle.architecture.layers) if layer.filters >= SMALLEST]
    for method, (kind, embedding) in METHODS.items():
        placed = vectors(bundle, kind, first, f"{options.per_class}-same")
        for number in layers[-options.last :]:
            live = labels[number].any(axis=1)
            wanted = for_animals(labels[number][live], bundle.classes)
            places = place(placed[number], embedding, seed=SEED).places[live]
            found, control, p = permutation_test_score(
                LogisticRegression(),
                places,
                wanted,
                cv=StratifiedKFold(FOLDS, shuffle=True, random_state=SEED),
                scoring="roc_auc",
                n_permutations=options.permutations,
                random_state=SEED,
            )
            yield {
                "method": method,
                "layer": bundle.architecture.layers[number].name,
                "filters": len(wanted),
                "labels": f"{same} images",
                "auroc": found,
                "shuffled": control.mean(),
                "shuffled95": np.percentile(control, 95),
                "p": p,
            }


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", default=list(NETS))
    parser.add_argument("--per-class", type=int, default=50)
    parser.add_argument("--last", type=int, default=6, help="so many layers")
    parser.add_argument("--permutations", type=int, default=200)
    options = parser.parse_args()
    for name in options.nets:
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in rows(bundle_of(name), options):
            found[row["method"]].append(row)
            of = f"{name:15} {row['method']:14} {row['layer']:24} {row['filters']:4} filters"
            shuffled = f"shuffled {row['shuffled']:.3f} (95 %: {row['shuffled95']:.3f})  p {row['p']:.3f}"
            print(f"{of}  AUROC {row['auroc']:.3f}  {shuffled}  {row['labels']}", flush=True)
        for method, each in found.items():
            mean, control = (np.mean([row[key] for row in each]) for key in ("auroc", "shuffled"))
            print(
                f"{name:15} {method:14} mean of {len(each)} layers: AUROC {mean:.3f}, shuffled {control:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
