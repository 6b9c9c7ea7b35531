"""What the (layer, score) index on KERNEL costs when a query is activated, and what it saves when it is read.

    python benchmarks/score_index.py [--repeats 3] [--json]

AlexNet with random weights and two random queries (250,048 kernel scores each), activated in turn; top kernels per
layer (`read/top_kernels`, 20 each) read after each. The same with the index and without, in one run on one server.
"""

import argparse
import json
import statistics
import time

import neo4j
import numpy as np
from running_server import connected

from viscnn.graph import Graph
from viscnn.graph_scores import ScoredLayer, activate_scores, save_scores
from viscnn.ingest.architecture import Architecture, read_architecture
from viscnn.ingest.load import drop_model, load_model
from viscnn.ingest.zoo import Recipe, build

NAME = "bench-index"
INDEX = "schema/kernel_layer_score"


def drop_index(graph: Graph) -> None:
    """By the driver itself: nobody but this script ever removes it."""
    connection = graph.connection
    with neo4j.GraphDatabase.driver(connection.uri, auth=(connection.username, connection.password)) as driver:
        driver.execute_query("DROP INDEX kernel_layer_score IF EXISTS", database_=connection.database)


def save_random_query(graph: Graph, architecture: Architecture, uid: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = [
        ScoredLayer(f"{NAME}/{layer.name}", rng.random(layer.filters), rng.random((layer.filters, layer.inputs)))
        for layer in architecture.layers
    ]
    graph.write("write/save_query", model=NAME, uid=uid, properties={})
    save_scores(graph, uid, layers)


def measure(graph: Graph, uids: list[str], repeats: int) -> tuple[float, float]:
    """Median seconds of an activation and of a read of the top kernels; the first round warms up."""
    activations, reads = [], []
    for repeat in range(repeats + 1):
        for uid in uids:
            began = time.perf_counter()
            activate_scores(graph, uid)
            middle = time.perf_counter()
            graph.read("read/top_kernels", model=NAME, above=0.0, limit=20)
            if repeat:
                activations.append(middle - began)
                reads.append(time.perf_counter() - middle)
    return statistics.median(activations), statistics.median(reads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    zoo = build(Recipe("alexnet", weights="random"))
    architecture = read_architecture(zoo.module, zoo.input_shape)
    uids = [f"{NAME}/query/{number}" for number in (1, 2)]
    with connected() as graph:
        drop_model(graph, NAME, missing_ok=True)
        load_model(graph, NAME, zoo, architecture)
        try:
            for seed, uid in enumerate(uids):
                save_random_query(graph, architecture, uid, seed)
            with_index = measure(graph, uids, arguments.repeats)
            drop_index(graph)
            without = measure(graph, uids, arguments.repeats)
        finally:
            graph.stream(INDEX)
            drop_model(graph, NAME, missing_ok=True)
    result = {
        "activateWithIndex": with_index[0],
        "activateWithout": without[0],
        "activateRatio": with_index[0] / without[0],
        "topKernelsWithIndex": with_index[1],
        "topKernelsWithout": without[1],
        "topKernelsSpeedup": without[1] / with_index[1],
    }
    print(json.dumps(result) if arguments.json else "\n".join(f"{key:20} {value:.3f}" for key, value in result.items()))


if __name__ == "__main__":
    main()
