"""The page moves its filters from one projection to another, and changes nothing in the graph."""

from collections.abc import Iterator
from pathlib import Path

import neo4j
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from tests import toy
from tests.pages import errors, opened, tables, view_of
from viscnn import VISCNN
from viscnn.config import Connection
from viscnn.ui import data
from viscnn.ui.panels import network
from viscnn.ui.state import View

MODEL = "moving"
GRID, FIRST = f"{MODEL}/projection/grid", f"{MODEL}/projection/kernel-pca-disc"


@pytest.fixture(scope="module")
def v(server: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VISCNN]:
    pictures: Path = toy.split_pictures(tmp_path_factory.mktemp("moving"))
    with toy.ingested(server, MODEL, pictures) as session:
        session.project(MODEL, method="grid")
        session.query("ant", model=MODEL)
        yield session
    data.reconnect()


def drawn(page: AppTest) -> dict[str, tuple[float, float]]:
    """Where the picture has each filter."""
    frame = tables(page)[1].to_pandas()
    return {row.uid: (row.x, row.y) for row in frame.itertuples()}


def stored(v: VISCNN, uid: str) -> dict[str, tuple[float, float]]:
    return {row["uid"]: (row["u"], row["v"]) for row in v.places(uid)}


def assert_at(found: dict[str, tuple[float, float]], wanted: dict[str, tuple[float, float]]) -> None:
    """The network is a chain, so that every disc is centred."""
    assert found
    np.testing.assert_allclose([found[uid] for uid in found], [wanted[uid] for uid in found], atol=1e-6)


def explore(v: VISCNN, projection: str | None = None) -> AppTest:
    page = opened("explore", View(model=MODEL, query=v.queries(MODEL)[0]["uid"], projection=projection))
    assert errors(page) == []
    return page


def test_choosing_a_projection_moves_the_filters_of_the_page_alone(v: VISCNN) -> None:
    page = explore(v)
    assert page.selectbox(key="projection").value == FIRST
    assert_at(drawn(page), stored(v, FIRST))
    revision = tables(page)[0]["revision"]
    page.selectbox(key="projection").set_value(GRID).run()
    assert errors(page) == []
    assert_at(drawn(page), stored(v, GRID))
    assert tables(page)[0]["revision"] != revision
    assert view_of(page)["projection"] == GRID
    assert [each["uid"] for each in v.projections(MODEL) if each["active"]] == [FIRST]


def test_a_link_names_the_projection(v: VISCNN) -> None:
    assert_at(drawn(explore(v, GRID)), stored(v, GRID))


def test_a_projection_that_is_gone_gives_way_to_the_active_one(v: VISCNN) -> None:
    page = explore(v, f"{MODEL}/projection/gone")
    assert page.selectbox(key="projection").value == FIRST
    assert_at(drawn(page), stored(v, FIRST))


@pytest.fixture
def none_active(v: VISCNN, server: Connection) -> Iterator[dict[str, tuple[float, float]]]:
    """Somebody has moved all filters by Cypher, and said so; where they are now."""
    text = """
    MATCH (m:Model {name: $model})
    REMOVE m.activeProjection
    WITH m MATCH (m)-[:HAS_LAYER]->(:Layer)-[:HAS_FILTER]->(f:Filter)
    SET f.u = 0.01 * f.channel, f.v = -0.02 * f.channel
    RETURN f.uid AS uid, f.u AS u, f.v AS v
    """
    with neo4j.GraphDatabase.driver(server.uri, auth=(server.username, server.password)) as driver:
        rows = driver.execute_query(text, model=MODEL).records
    yield {row["uid"]: (row["u"], row["v"]) for row in rows}
    v.activate_projection(FIRST)


def test_where_none_is_active_the_graphs_own_places_are_shown(
    v: VISCNN, none_active: dict[str, tuple[float, float]]
) -> None:
    page = explore(v)  # its subgraph was pulled, and kept, when a projection was active
    assert page.selectbox(key="projection").value == network.STORED
    assert page.selectbox(key="projection").options[0] == "as stored in the graph"
    assert_at(drawn(page), none_active)
    page.selectbox(key="projection").set_value(GRID).run()
    assert_at(drawn(page), stored(v, GRID))
    page.selectbox(key="projection").set_value(network.STORED).run()
    assert errors(page) == []
    assert_at(drawn(page), none_active)
    assert "projection" not in view_of(page)
    v.activate_projection(GRID)
    page.run()
    assert page.selectbox(key="projection").value == GRID
    assert len(page.selectbox(key="projection").options) == len(v.projections(MODEL)) == 2
    assert_at(drawn(page), stored(v, GRID))


def test_what_is_activated_elsewhere_is_shown_at_the_next_run(v: VISCNN) -> None:
    page = explore(v)
    v.activate_projection(GRID)
    try:
        assert_at(drawn(page.run()), stored(v, GRID))
    finally:
        v.activate_projection(FIRST)
