"""A network into the graph: over Bolt and by bulk load, beside a bare loop of the best statement on the same rows.

    python benchmarks/ingest.py [--model vgg16] [--no-weights] [--ways bare,bolt,bulk] [--repeats 1] [--heap 1g]

Each way runs on a managed Neo4j of its own, in a new home below the folder for temporary files; weights are random. The
bare loop writes the kernels only, and is timed only while it waits for Neo4j: its rows are ready-made. Ours go from the
built module to `complete`: reading the network, places, rows, counts, indexes, and for the bulk load the restart too.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import psutil

from viscnn import server
from viscnn.graph import Graph
from viscnn.ingest import layout, rows
from viscnn.ingest.architecture import read_architecture
from viscnn.ingest.bulk import load_in_bulk
from viscnn.ingest.contents import Contents
from viscnn.ingest.kernels import Extent
from viscnn.ingest.load import apply_schema, load_contents
from viscnn.ingest.zoo import Recipe, ZooModel, build
from viscnn.server.home import server_home
from viscnn.server.jars import jars_folder
from viscnn.server.process import importers

NAME = "bench"
WAYS = ("bare", "bolt", "bulk")


class Peak:
    """`with Peak() as peak`: the most memory that this process, its server and an import have resident together."""

    mib = 0.0

    def __enter__(self) -> Self:
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        home = server_home()
        while not self._done.wait(1.0):
            pid = server.status().pid
            processes = [psutil.Process(), *importers(home)]
            total = 0
            with contextlib.suppress(psutil.Error):
                processes += [psutil.Process(pid)] if pid else []
            for each in processes:
                with contextlib.suppress(psutil.Error):
                    total += each.memory_info().rss
            self.mib = max(self.mib, total / 2**20)


def contents(zoo: ZooModel, *, weights: bool) -> Contents:
    """What is stored, read from the module."""
    return Contents(NAME, zoo, read_architecture(zoo.module, zoo.input_shape), Extent(weights=weights))


def bare(graph: Graph, zoo: ZooModel, *, weights: bool) -> float:
    """Seconds that Neo4j takes for the kernels, sent in a plain loop; layers and filters are there before."""
    model = contents(zoo, weights=weights)
    apply_schema(graph)
    graph.write("write/start_ingest", model=NAME, properties={})
    made = graph.write("write/load_layers", model=NAME, rows=rows.layer_rows(NAME, model.architecture, row=0.0))
    for part in rows.filter_rows(NAME, model.architecture, row=-layout.height(model.architecture)):
        graph.write("write/load_filters", layer=part.layer, labels=part.labels, rows=part.rows)
    keys = {each["name"]: each["key"] for each in made}
    seconds = 0.0
    for batch in rows.kernel_batches(NAME, model.architecture, keys, model.extent, model.kept):
        began = time.perf_counter()
        graph.write("write/load_kernels", **batch)
        seconds += time.perf_counter() - began
    return seconds


def bolt(graph: Graph, zoo: ZooModel, *, weights: bool) -> float:
    """Seconds of the ingest over Bolt."""
    began = time.perf_counter()
    load_contents(graph, contents(zoo, weights=weights))
    return time.perf_counter() - began


def bulk(graph: Graph, zoo: ZooModel, *, weights: bool) -> float:
    """Seconds of the bulk load; each step's start is told on standard error."""
    began = time.perf_counter()
    step = ""

    def tell(name: str, done: int, total: int) -> None:
        nonlocal step
        if name != step:
            print(f"    {time.perf_counter() - began:6.1f} s: {name}", file=sys.stderr)
        step = name

    load_in_bulk(graph, contents(zoo, weights=weights), progress=tell)
    return time.perf_counter() - began


@contextlib.contextmanager
def own_server(heap: str) -> Iterator[Graph]:
    """A managed server in a new home, gone at the end."""
    jars = jars_folder()
    with tempfile.TemporaryDirectory(prefix="viscnn-bench-") as folder:
        os.environ |= {"VISCNN_HOME": folder, "VISCNN_JARS": str(jars), "VISCNN_HEAP": heap}
        try:
            server.start()
            with Graph(server.connection()) as graph:
                yield graph
        finally:
            server.stop()


def measured(way: str, zoo: ZooModel, *, weights: bool, heap: str) -> dict[str, float]:
    """One run: seconds, megabytes of the stopped store with its transaction logs, peak memory, load of the machine."""
    with own_server(heap) as graph, Peak() as peak:
        before = os.getloadavg()[0]
        seconds = {"bare": bare, "bolt": bolt, "bulk": bulk}[way](graph, zoo, weights=weights)
        after = os.getloadavg()[0]
        server.stop()
        store, logs = (_bytes(server_home().data / part / "neo4j") / 1e6 for part in ("databases", "transactions"))
    load = max(before, after)
    print(f"{way}: {seconds:.1f} s, load {before:.1f} to {after:.1f}", file=sys.stderr)
    return {"seconds": seconds, "storeMB": store, "logMB": logs, "peakMiB": peak.mib, "load": load}


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def result(runs: dict[str, list[dict[str, float]]], zoo: ZooModel, *, weights: bool, heap: str) -> dict[str, Any]:
    """The best run of each way, kernels per second, and rates over that of the bare loop."""
    kernels = contents(zoo, weights=weights).kept.kernels
    best = {way: min(each, key=lambda run: run["seconds"]) for way, each in runs.items() if each}
    found: dict[str, Any] = {"kernels": kernels, "weights": weights, "heap": heap}
    for way, run in best.items():
        found |= {f"{way}{key[0].upper()}{key[1:]}": value for key, value in run.items()}
        found[f"{way}KernelsPerSecond"] = kernels / run["seconds"]
    for way in ("bolt", "bulk"):
        if way in best and "bare" in best:
            found[f"{way}OverBareRate"] = best["bare"]["seconds"] / best[way]["seconds"]
            pairs = zip(runs["bare"], runs[way], strict=True)
            found[f"{way}OverBareRateMedian"] = statistics.median(a["seconds"] / b["seconds"] for a, b in pairs)
    if "bolt" in best and "bulk" in best:
        found["bulkTimesFaster"] = best["bolt"]["seconds"] / best["bulk"]["seconds"]
    return found | {"machine": f"{platform.machine()}, {os.cpu_count()} cores"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="alexnet")
    parser.add_argument("--no-weights", action="store_true")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--heap", default="1g")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    weights, heap = not arguments.no_weights, arguments.heap
    zoo = build(Recipe(arguments.model, weights="random"))
    ways = [way for way in WAYS if way in arguments.ways.split(",")]
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(arguments.repeats):
        for way in ways:
            runs[way].append(measured(way, zoo, weights=weights, heap=heap))
    found = {"model": arguments.model} | result(runs, zoo, weights=weights, heap=heap)
    if arguments.json:
        print(json.dumps(found))
    else:
        for key, value in found.items():
            print(f"{key:24} {value:,.2f}" if isinstance(value, float) else f"{key:24} {value}")


if __name__ == "__main__":
    main()
