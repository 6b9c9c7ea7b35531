"""Feature visualisation: the activation that our optimiser and torch-lucent reach, and what it costs them.

    python benchmarks/visualize.py [NET] [--layer L ...] [--filters 3] [--steps 64] [--objective channel] [--json]

For every layer the same filters, objective and number of steps by three contenders, one after the other

    own          `viscnn.engine.visualize`, all filters at once
    own alone    the same, one filter at a time
    lucent       torch-lucent (pip install 'viscnn[lucent]'), one filter at a time, as it is used; left out where it
                 is not installed. Its network, normalisation and redirected ReLUs are ours, and its padded view of
                 the image is resized to what the model takes (engine/visualize/lucent.py)

and by how they grow: `--more 128` also measures `own` with so many steps. What is printed: the mean over the filters of
the activation that the finished 8-bit image reaches without any transform, how far that is above grey, processor
seconds per image (wall seconds too; on a shared machine they say less, with a GPU only they count), and the ratio:
activation above grey per processor second, over that of lucent. Nothing is taken from the cache.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from projection import bundle_of

from viscnn.engine.bundle import Bundle
from viscnn.engine.visualize import lucent, optimise
from viscnn.engine.visualize.objectives import Objective, filter_objective
from viscnn.engine.visualize.render import Renderer
from viscnn.engine.visualize.settings import Settings
from viscnn.engine.visualize.views import Normalisation
from viscnn.errors import InputError

LAYERS = ("conv2_3x3", "inception_4a_3x3")


def contender(bundle: Bundle, objectives: list[Objective], settings: Settings, *, at_once: bool) -> dict[str, Any]:
    """What is reached, and in what time."""
    renderer = Renderer(bundle, settings, Normalisation.of(bundle.preprocess))
    climb = lucent.climb if settings.backend == "lucent" else optimise.climb
    batches = [objectives] if at_once else [[each] for each in objectives]
    began, worked, reached = time.perf_counter(), time.process_time(), []
    for batch in batches:
        problem = renderer._problem(batch)
        images = climb(problem, batch, settings, tell=lambda done: None)
        reached += optimise.activations(problem, batch, images)
    wall, worked = (
        (now - then) / len(objectives) for now, then in ((time.perf_counter(), began), (time.process_time(), worked))
    )
    channels, rows, columns = bundle.architecture.input_shape
    grey = np.full((len(objectives), rows, columns, channels), 128, dtype=np.uint8)
    above = np.array(reached) - optimise.activations(renderer._problem(objectives), objectives, grey)
    return {
        "activation": float(np.mean(reached)),
        "aboveGrey": float(above.mean()),
        "seconds": worked,
        "wallSeconds": wall,
    }


def measured(bundle: Bundle, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All rows."""
    with_lucent = installed()
    for name in options.layer or LAYERS:
        layer = bundle.architecture.layer(name)
        step = max(1, layer.filters // options.filters)
        objectives = [
            filter_objective(bundle.name, layer, channel, kind=options.objective)
            for channel in range(0, step * options.filters, step)
        ]
        runs = [("own", options.steps, True), ("own alone", options.steps, False)]
        runs += [("own", steps, True) for steps in options.more]
        runs += [("lucent", options.steps, False)] if with_lucent else []
        found = []
        for what, steps, at_once in runs:
            settings = Settings(steps=steps, backend="lucent" if what == "lucent" else "own")
            found.append(
                {"contender": what, "steps": steps, **contender(bundle, objectives, settings, at_once=at_once)}
            )
        theirs = next((each["aboveGrey"] / each["seconds"] for each in found if each["contender"] == "lucent"), None)
        for row in found:
            ratio = None if theirs is None else row["aboveGrey"] / row["seconds"] / theirs
            filters = [each.text for each in objectives]
            yield {
                "net": bundle.name,
                "layer": name,
                "objective": options.objective,
                "filters": filters,
                **row,
                "ratio": ratio,
            }


def installed() -> bool:
    try:
        lucent.version()
    except InputError as error:
        print(error, file=sys.stderr)
        return False
    return True


def line(row: dict[str, Any]) -> str:
    """A row for people."""
    ratio = "" if row["ratio"] is None else f"  {row['ratio']:.2f} x lucent's"
    where = f"{row['net']} {row['layer']:18} {row['objective']} of {len(row['filters'])}"
    seconds = f"{row['seconds']:7.2f} s/image ({row['wallSeconds']:.2f} wall)"
    reached = f"activation {row['activation']:9.3f}  above grey {row['aboveGrey']:9.3f}"
    return f"{where}  {row['contender']:9} {row['steps']:4} steps  {reached}  {seconds}{ratio}"


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", nargs="?", default="googlenet-bvlc")
    parser.add_argument("--layer", action="append")
    parser.add_argument("--filters", type=int, default=3)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--more", type=int, action="append", default=[])
    parser.add_argument("--objective", default="channel", choices=["channel", "neuron"])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    rows = []
    for row in measured(bundle_of(options.net), options):
        rows.append(row)
        if not options.json:
            print(line(row), flush=True)
    if options.json:
        print(json.dumps({"threads": torch.get_num_threads(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
