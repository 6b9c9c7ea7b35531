"""AlexNet into the graph: our whole ingest against a bare loop that sends the same rows by the best statement.

    python benchmarks/ingest.py [--repeats 3] [--json]

Both sides run in turn on the same Neo4j (NEO4J_URI, else the managed server, which is started if needed). The bare
loop gets its rows ready-made; ours includes tracing, layout, making the rows, the counts and the status changes.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time

from running_server import connected

from viscnn.graph import Graph
from viscnn.ingest import rows
from viscnn.ingest.architecture import Architecture, read_architecture
from viscnn.ingest.load import apply_schema, drop_model, load_model
from viscnn.ingest.zoo import Recipe, ZooModel, build

NAMES = ("bench-bare", "bench-ours")


def bare(graph: Graph, zoo: ZooModel, architecture: Architecture) -> float:
    """Seconds of a loop that sends ready-made kernel rows and nothing else."""
    name = NAMES[0]
    graph.write("write/start_ingest", model=name, properties={})
    made = graph.write("write/load_layers", model=name, rows=rows.layer_rows(name, architecture, row=0.0))
    for uid, filters in rows.filter_rows(name, architecture, row=0.0):
        graph.write("write/load_filters", layer=uid, labels=[], rows=filters)
    batches = list(rows.kernel_batches(name, architecture, {each["name"]: each["key"] for each in made}))
    began = time.perf_counter()
    for batch in batches:
        graph.write("write/load_kernels", **batch)
    return time.perf_counter() - began


def ours(graph: Graph, zoo: ZooModel) -> float:
    """Seconds of the ingest from the built model to `complete`."""
    began = time.perf_counter()
    load_model(graph, NAMES[1], zoo, read_architecture(zoo.module, zoo.input_shape))
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    zoo = build(Recipe("alexnet", weights="random"))
    architecture = read_architecture(zoo.module, zoo.input_shape)
    times: dict[str, list[float]] = {"bare": [], "ours": []}
    with connected() as graph:
        apply_schema(graph)
        try:
            for repeat in range(arguments.repeats):
                for name in NAMES:
                    drop_model(graph, name, missing_ok=True)
                times["bare"].append(bare(graph, zoo, architecture))
                times["ours"].append(ours(graph, zoo))
                print(f"{repeat}: {times['bare'][-1]:.1f} s, {times['ours'][-1]:.1f} s", file=sys.stderr)
        finally:
            for name in NAMES:
                drop_model(graph, name, missing_ok=True)
    best = {side: min(values) for side, values in times.items()}
    result = {
        "kernels": architecture.kernels,
        "bareSeconds": best["bare"],
        "oursSeconds": best["ours"],
        "ratio": best["ours"] / best["bare"],
        "medianRatio": statistics.median(a / b for a, b in zip(times["ours"], times["bare"], strict=True)),
        "kernelsPerSecond": architecture.kernels / best["ours"],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            print(f"{key:18} {value:,.2f}" if isinstance(value, float) else f"{key:18} {value}")


if __name__ == "__main__":
    main()
