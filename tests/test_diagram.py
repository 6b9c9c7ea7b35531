"""The layout of diagrams: columns, order, places, what is chosen of large circuits."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from viscnn.diagram.choice import choose
from viscnn.diagram.layout import IDENTITY, Diagram, laid
from viscnn.diagram.order import crossings, layered, reduced
from viscnn.diagram.places import FILTER, KERNEL_GAP, Bend, point

LAYERS = {
    # name: depth, branch, filters that are drawn, layers that it reads
    "input": (0, 0, 3, []),
    "stem": (1, 0, 9, ["input"]),
    "left": (2, 0, 7, ["stem"]),
    "right": (2, 1, 5, ["stem"]),
    "back": (3, 0, 9, ["left", "right"]),  # behind a concatenation
    "add": (4, 0, 9, []),  # of stem and back, channel by channel
    "top": (5, 0, 4, ["add"]),
}


def network(seed: int, *, share: float = 0.4) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Filters, edges and layers of a made-up circuit with a sum, a concatenation and two branches."""
    generator = np.random.default_rng(seed)
    filters = pd.DataFrame(
        [
            {"uid": f"m/{layer}/{channel}", "layer": layer, "channel": channel}
            for layer, (_, _, count, _) in LAYERS.items()
            for channel in range(count)
        ]
    )
    filters["inputChannel"] = filters["layer"] == "input"
    filters["sum"] = filters["layer"] == "add"
    filters["target"] = filters["layer"] == "top"
    filters["score"] = generator.random(len(filters))
    rows = filters.groupby("layer").groups
    edges = []
    for layer, (_, _, _, sources) in LAYERS.items():
        places = [row for source in sources for row in rows[source]]
        for target, (number, source) in itertools.product(rows[layer], enumerate(places)):
            place = target - rows[layer][0]
            connects = number % len(rows[layer]) == place or place % len(places) == number  # nobody is left alone
            if connects or generator.random() < share:
                edges.append((source, target, number, generator.random(), int(generator.integers(-1, 2))))
    for channel in range(9):
        edges += [(rows[each][channel], rows["add"][channel], at, 1.0, 2) for at, each in enumerate(("stem", "back"))]
    frame = pd.DataFrame(edges, columns=["source", "target", "input", "shown", "sign"])
    layers = pd.DataFrame(
        [{"name": name, "depth": a, "branch": b, "filters": 2 * n} for name, (a, b, n, _) in LAYERS.items()]
    )
    layers["index"] = range(len(layers))
    return filters, frame.assign(score=frame["shown"]), layers.set_index("name", drop=False)


def weights_of(filters: pd.DataFrame, edges: pd.DataFrame, *, seed: int = 0) -> dict[tuple[str, int], Any]:
    generator = np.random.default_rng(seed)
    kernels = edges[edges["sign"] != IDENTITY]
    return {
        (filters["uid"][each["target"]], each["input"]): generator.standard_normal((3, 3))
        for each in kernels.to_dict("records")
    }


def drawn(seed: int, **settings: Any) -> Diagram:
    filters, edges, layers = network(seed, **settings)
    return laid(filters, edges, layers, weights_of(filters, edges), circuit={"uid": "m/circuit/1"})


SEEDS = (0, 1, 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_columns_are_layers_by_depth_and_branch(seed: int) -> None:
    found = drawn(seed)
    assert [each.layer for each in found.columns] == ["input", "stem", "left", "right", "back", "add", "top"]
    assert [each.drawn for each in found.columns] == [3, 9, 7, 5, 9, 9, 4]
    assert [each.filters for each in found.columns] == [6, 18, 14, 10, 18, 18, 8]
    steps = np.diff([each.x for each in found.columns])
    assert np.allclose(steps, steps[0])
    assert steps[0] >= FILTER + 100
    for each in found.filters:
        assert found.columns[each.column].layer == each.layer
        assert found.columns[each.column].x == each.x
    assert all(found.filters[each.source].x < found.filters[each.target].x for each in found.edges)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_two_filters_overlap_and_all_lie_in_the_figure(seed: int) -> None:
    found = drawn(seed)
    for one, two in itertools.combinations(found.filters, 2):
        assert abs(one.x - two.x) >= FILTER or abs(one.y - two.y) >= FILTER
    assert min(each.y for each in found.filters) >= 0
    assert max(each.y for each in found.filters) <= found.height
    assert max(each.x for each in found.filters) == found.width


@pytest.mark.parametrize("seed", SEEDS)
def test_edges_end_at_their_filters_and_pass_no_other(seed: int) -> None:
    found = drawn(seed)
    passed = 0
    for edge in found.edges:
        source, target = found.filters[edge.source], found.filters[edge.target]
        (x0, y0), (x1, y1) = edge.bends[0][0], edge.bends[-1][1]
        assert (x0, x1) == (source.x + FILTER / 2, target.x - FILTER / 2)
        assert abs(y0 - source.y) < FILTER / 2
        assert abs(y1 - target.y) < FILTER / 2
        for one, two in itertools.pairwise(edge.bends):
            (left, y), (right, same) = one[1], two[0]
            assert (right - left, same) == (FILTER, y)
            beside = [each for each in found.filters if left < each.x < right]
            assert beside
            assert all(abs(each.y - y) > FILTER / 2 for each in beside)
            passed += 1
    assert passed > 20  # skip connections and the second branch


@pytest.mark.parametrize("seed", SEEDS)
def test_there_are_no_more_crossings_than_in_the_order_of_channels(seed: int) -> None:
    found = drawn(seed)
    assert found.crossings < found.crossings_by_channel


def test_crossings_are_counted_as_one_would() -> None:
    generator = np.random.default_rng(5)
    columns = [0] * 5 + [1] * 6 + [2] * 5
    pairs = [(a, b) for a, b in itertools.combinations(range(16), 2) if columns[a] < columns[b]]
    edges = [pair for pair in pairs if generator.random() < 0.4]
    graph = layered(columns, edges)
    for order in (graph.columns, reduced(graph)):
        place = {node: at for column in order for at, node in enumerate(column)}
        number = {node: at for at, column in enumerate(order) for node in column}
        segments = [(node, each) for node, ends in enumerate(graph.right) for each in ends]
        expected = sum(
            (place[a] - place[c]) * (place[b] - place[d]) < 0
            for (a, b), (c, d) in itertools.combinations(segments, 2)
            if number[a] == number[c]
        )
        assert crossings(graph, order) == expected


def test_a_tangle_that_has_none_is_untangled() -> None:
    columns = [0] * 6 + [1] * 6 + [2] * 6
    permuted = [4, 0, 5, 2, 1, 3]
    edges = [(at, 6 + permuted[at]) for at in range(6)] + [(6 + at, 12 + permuted[at]) for at in range(6)]
    graph = layered(columns, edges)
    assert crossings(graph, graph.columns) > 0
    assert crossings(graph, reduced(graph)) == 0


def test_the_same_circuit_gives_the_same_diagram() -> None:
    one, two = drawn(1), drawn(1)
    assert (one.filters, one.edges, one.columns) == (two.filters, two.edges, two.columns)
    assert [each.at for each in one.pictures] == [each.at for each in two.pictures]


def test_edges_of_one_filter_share_their_way_past_a_column() -> None:
    graph = layered([0, 1, 2, 2], [(0, 2), (0, 3), (0, 1)])
    assert graph.routes[0][1] == graph.routes[1][1] == 4
    assert graph.columns == [[0], [1, 4], [2, 3]]
    assert graph.right[0] == [4, 1]


def near(bend: Bend, at: tuple[float, float]) -> float:
    """How far a point is from a bend."""
    return min(float(np.hypot(*np.subtract(point(bend, share), at))) for share in np.linspace(0, 1, 2001))


@pytest.mark.parametrize("seed", SEEDS)
def test_kernel_pictures_lie_on_their_edges_and_cover_nothing(seed: int) -> None:
    found = drawn(seed)
    for one, two in itertools.combinations(found.pictures, 2):
        distance = np.abs(np.subtract(one.at, two.at)).max()
        assert distance >= (one.size + two.size) / 2 + KERNEL_GAP - 1e-9
    for each in found.pictures:
        assert near(found.edges[each.edge].bends[-1], each.at) < 1
        assert all(abs(each.at[0] - other.x) >= (FILTER + each.size) / 2 for other in found.filters)
    kernels = sum(edge.sign != IDENTITY for edge in found.edges)
    assert len(found.pictures) + found.without_place == found.kernels == kernels


def test_the_strongest_kernels_have_their_pictures_first() -> None:
    filters, edges, layers = network(3, share=1.0)
    edges["source"] = edges["source"].where(edges["target"] != 3, 0)  # all into one, on top of each other
    twice = pd.concat([edges[edges["target"] == 3]] * 30, ignore_index=True)
    twice["input"] = range(len(twice))
    twice["shown"] = np.linspace(0.1, 1.0, len(twice))
    found = laid(filters, twice, layers, weights_of(filters, twice), circuit={"uid": "m/circuit/1"})
    with_picture = {each.edge for each in found.pictures}
    assert found.without_place > 0
    assert len(twice) - 1 in with_picture
    assert "without a free place" in found.caption
    left_out = [found.edges[row].shown for row in range(len(twice)) if row not in with_picture]
    assert max(left_out) < 1.0


def test_widths_follow_the_score() -> None:
    found = drawn(0)
    for edge in found.edges:
        expected = 1.4 if edge.sign == 2 else max(0.5, 10 * edge.shown ** (2 / 3))
        assert edge.width == pytest.approx(expected)


def test_scales_of_kernel_pictures_are_those_of_their_layers() -> None:
    filters, edges, layers = network(0)
    weights = weights_of(filters, edges)
    found = laid(filters, edges, layers, weights, circuit={"uid": "m/circuit/1"})
    largest: dict[str, float] = {}
    for (uid, _), values in weights.items():
        layer = uid.split("/")[1]
        largest[layer] = max(largest.get(layer, 0.0), float(np.abs(values).max()))
    for each in found.pictures:
        edge = found.edges[each.edge]
        assert each.limit == largest[found.filters[edge.target].layer]
        assert each.weights is weights[found.filters[edge.target].uid, edge.input]


def test_kernels_without_weights_are_counted() -> None:
    filters, edges, layers = network(0)
    found = laid(filters, edges, layers, {}, circuit={"uid": "m/circuit/1"})
    assert found.pictures == ()
    assert found.without_weights == found.kernels > 0
    assert "weights are not stored" in found.caption


# -- large circuits ----------------------------------------------------------------------------------------------------


def reached(filters: set[int], edges: pd.DataFrame, start: set[int], side: str, other: str) -> set[int]:
    """Those of `filters` that can be reached from `start` along edges between them."""
    found, pending = set(start & filters), list(start & filters)
    while pending:
        here = pending.pop()
        for each in edges.loc[edges[side] == here, other]:
            if each in filters and each not in found:
                found.add(each)
                pending.append(each)
    return found


@pytest.mark.parametrize("limit", [6, 15, 30, 45])
def test_of_a_large_circuit_the_best_stay_and_keep_their_ways(limit: int) -> None:
    filters, edges, _ = network(4, share=0.5)
    edges = edges.assign(strength=edges["shown"])
    scores = filters["score"].to_numpy()
    ends = [set(np.flatnonzero(filters[name]).tolist()) for name in ("target", "inputChannel")]
    connected = set(range(len(filters)))
    connected &= reached(connected, edges, ends[0], "target", "source")
    connected &= reached(connected, edges, ends[1], "source", "target")
    assert len(connected) == len(filters)
    choice = choose(scores, edges, limit=limit)
    kept = {int(each) for each in choice.filters}
    assert 5 <= len(kept) <= limit
    lines = edges.iloc[choice.edges]
    assert kept == reached(kept, lines, ends[0], "target", "source") & reached(kept, lines, ends[1], "source", "target")
    if limit >= 15:
        assert int(np.argmax(scores)) in kept


def test_a_small_circuit_is_drawn_whole() -> None:
    filters, edges, _ = network(4)
    choice = choose(filters["score"].to_numpy(), edges.assign(strength=edges["shown"]), limit=len(filters))
    assert choice.filters.tolist() == list(range(len(filters)))
    assert choice.edges.tolist() == list(range(len(edges)))


def test_of_many_kernels_the_strongest_stay_and_those_that_connect() -> None:
    filters, edges, _ = network(4, share=1.0)
    edges = edges.assign(strength=edges["shown"])
    choice = choose(filters["score"].to_numpy(), edges, limit=500, kernels=100)
    kept = edges.iloc[choice.edges]
    assert len(kept) == 100 < len(edges)
    assert set(kept["source"]) == set(edges["source"])
    assert set(kept["target"]) == set(edges["target"])
    strongest = edges["strength"].nlargest(5).index
    assert set(strongest) <= set(choice.edges.tolist())
