"""From a query to its highlighted subgraph: AlexNet with random weights, one photograph, phase by phase.

    python benchmarks/query.py [--repeats 5] [--keep 0.1] [--json]

Cold: a photograph that was never scored, so nothing of the query is cached or stored. Its phases are those of the
query's report (images, scores, write) and `pull`, what the page waits for to draw; activation follows afterwards and
is timed by itself. Warm: the same query asked and pulled again. `neo4j` is write and pull. `imports` and `model`
(opening a session and building the model in it) come once, before; a query of another photograph warms up both sides.
Each repeat has a photograph of its own; medians. Photographs are those below $VISCNN_DATA, else noise.
"""

import argparse
import importlib
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from running_server import connected

from viscnn import VISCNN
from viscnn.config import data_folder

NAME = "bench-query"
TARGETS = {"coldSeconds": 1.5, "coldNeo4jSeconds": 1.0, "warmSeconds": 0.3}


def imported() -> float:
    """Seconds of the imports that a first query needs."""
    began = time.perf_counter()
    for name in ("viscnn.engine.run", "viscnn.subgraph"):
        importlib.import_module(name)
    return time.perf_counter() - began


def write_photographs(folder: Path, count: int) -> list[str]:
    """Names of so many pictures, each with one pixel of chance, so that no cache knows it from an earlier run."""
    data = data_folder()
    found = sorted((data / "imagenet_sample" / "images").glob("*.jpg")) if data else []
    names = []
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 256, (375, 500, 3), dtype=np.uint8)
        picture = Image.open(found[number % len(found)]).convert("RGB") if found else Image.fromarray(noise)
        picture.putpixel((0, 0), tuple(os.urandom(3)))
        names.append(f"{number:03}.png")
        picture.save(folder / names[-1])
    return names


def ask(v: VISCNN, name: str, keep: float) -> tuple[str, dict[str, float]]:
    """The query's uid, and the seconds of each phase from the question to the subgraph."""
    began = time.perf_counter()
    report = v.query(f'"{name}"', model=NAME, activate=False)
    scored = time.perf_counter()
    v.subgraph(report.uid, keep=keep)
    ended = time.perf_counter()
    neo4j = report.seconds["write"] + ended - scored
    return report.uid, {**report.seconds, "pull": ended - scored, "neo4j": neo4j, "total": ended - began}


def measure(v: VISCNN, names: list[str], keep: float) -> dict[str, list[dict[str, float]]]:
    """Phases of every repeat, cold and warm; the first name warms up."""
    found: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    for number, name in enumerate(names):
        uid, cold = ask(v, name, keep)
        began = time.perf_counter()
        v.activate(uid)
        cold["activate"] = time.perf_counter() - began
        _, warm = ask(v, name, keep)
        if number:
            found["cold"].append(cold)
            found["warm"].append(warm)
    return found


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {phase: statistics.median(each[phase] for each in rounds) for phase in rounds[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--keep", type=float, default=0.1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    imports = imported()
    with connected() as graph, VISCNN(graph.connection) as v, tempfile.TemporaryDirectory() as folder:
        names = write_photographs(Path(folder), arguments.repeats + 1)
        v.ingest("alexnet", name=NAME, weights="random", images=folder, importance=False, replace=True)
        try:
            began = time.perf_counter()
            with VISCNN(graph.connection) as asking:
                asking.bundle(NAME)
                model = time.perf_counter() - began
                found = measure(asking, names, arguments.keep)
        finally:
            v.drop(NAME)
    cold, warm = medians(found["cold"]), medians(found["warm"])
    result = {
        "coldSeconds": cold["total"],
        "coldNeo4jSeconds": cold["neo4j"],
        "warmSeconds": warm["total"],
        "activateSeconds": cold["activate"],
        "importsSeconds": imports,
        "modelSeconds": model,
        "cold": cold,
        "warm": warm,
        "repeats": arguments.repeats,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(result) if arguments.json else _table(result, cold, warm))


def _table(result: dict[str, object], cold: dict[str, float], warm: dict[str, float]) -> str:
    lines = [f"seconds, medians of {result['repeats']}; {result['machine']}", f"{'':10} {'cold':>8} {'warm':>8}"]
    lines += [
        f"{phase:10} {cold[phase]:8.3f} {f'{warm[phase]:8.3f}' if phase in warm else '':8}".rstrip() for phase in cold
    ]
    lines += [f"{phase:10} {result[f'{phase}Seconds']:8.3f}" for phase in ("imports", "model")]
    lines += [f"{name} {result[name]:.3f}, target {limit}" for name, limit in TARGETS.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
