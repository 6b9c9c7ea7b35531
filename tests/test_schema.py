"""A real graph holds nothing that `viscnn.schema` does not declare, and the docs page is the declared one."""

from collections.abc import Iterator

import pytest
from torch import nn

from tests import built
from viscnn.api import VISCNN
from viscnn.graph import Graph
from viscnn.ingest.load import load_model
from viscnn.ingest.zoo import ZooModel
from viscnn.queries import catalogue
from viscnn.schema import FILTER_LABELS, NODES, RELATIONSHIPS, as_markdown

from .sources import ROOT

MODELS = ["schema-mnist", "schema-built"]


@pytest.fixture(scope="module")
def stored(graph: Graph) -> Iterator[list[str]]:
    """A model with everything that scoring stores, and one with a sum and its head."""
    made = built.branching()
    zoo = ZooModel(nn.Identity(), "built", made.input_shape, ("ant", "bee", "cat"), {}, None, "hash")
    with VISCNN() as viscnn:
        load_model(graph, "schema-built", zoo, made, heads=True, replace=True)
        viscnn.ingest("mnist", name="schema-mnist", replace=True)
        viscnn.circuit("schema-mnist/conv2/1", model="schema-mnist", keep=0.5, max_images=20, check_images=30)
        viscnn.find_exemplars("schema-mnist", count=2, max_images=10)
        yield MODELS
        for name in MODELS:
            viscnn.drop(name)


def test_nodes_hold_declared_properties_only(graph: Graph, stored: list[str]) -> None:
    text = (
        "MATCH (n) WHERE coalesce(n.model, n.name) IN $models UNWIND labels(n) AS label UNWIND keys(n) AS key "
        "RETURN label, collect(DISTINCT key) AS keys"
    )
    found = {label: set(keys) for label, keys in graph.fetch(text, {"models": stored}, limit=50, timeout=30).rows}
    declared = {node.label: set(node.properties) for node in NODES}
    declared |= dict.fromkeys(FILTER_LABELS, declared["Filter"])
    assert found.keys() == declared.keys()
    assert {label: keys - declared[label] for label, keys in found.items() if keys - declared[label]} == {}


def test_relationships_hold_declared_properties_between_declared_labels(graph: Graph, stored: list[str]) -> None:
    text = (
        "MATCH (a)-[r]->(b) WHERE coalesce(b.model, b.name) IN $models "
        "RETURN type(r) AS type, collect(DISTINCT labels(a)[0]) AS sources, collect(DISTINCT labels(b)[0]) AS targets, "
        "reduce(all = [], each IN collect(DISTINCT keys(r)) | all + each) AS keys"
    )
    rows = graph.fetch(text, {"models": stored}, limit=50, timeout=30).rows
    declared = {edge.name: edge for edge in RELATIONSHIPS}
    assert {row[0] for row in rows} == declared.keys()
    for name, sources, targets, keys in rows:
        assert (sources, targets) == ([declared[name].source], [declared[name].target])
        assert set(keys) <= declared[name].properties.keys()


def test_every_key_has_its_constraint() -> None:
    schema = " ".join(query.text for query in catalogue().values() if query.mode == "schema")
    for node in NODES:
        assert f"(n:{node.label}) REQUIRE n.{node.key} IS UNIQUE" in schema


def test_the_docs_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "schema.md").read_text(encoding="utf-8") == as_markdown()
