"""What a page asks twice is asked once: `VISCNN.remembering`, on a real Neo4j, told by its tracer."""

import threading
from collections.abc import Iterator

import pytest

from viscnn.api import VISCNN
from viscnn.config import Connection

MODEL = "remembering-mnist"


@pytest.fixture
def asked() -> list[str]:
    """The names of the statements that reach the database."""
    return []


@pytest.fixture
def v(server: Connection, asked: list[str]) -> Iterator[VISCNN]:
    with VISCNN(server, tracer=lambda name, parameters, milliseconds: asked.append(name)) as opened:
        opened.ingest("mnist", name=MODEL, importance=False)
        asked.clear()
        yield opened
        if MODEL in {each["name"] for each in opened.models()}:
            opened.drop(MODEL)


def test_a_question_is_asked_once_within_it_and_each_time_without(v: VISCNN, asked: list[str]) -> None:
    with v.remembering():
        assert v.model(MODEL) == v.model(MODEL)
        assert v.model("remembering-mnist")["name"] == MODEL
    assert asked == ["read/model"]
    v.model(MODEL)
    v.model(MODEL)
    assert asked == ["read/model"] * 3


def test_other_parameters_are_another_question(v: VISCNN, asked: list[str]) -> None:
    with v.remembering():
        one, other = (v.incoming_kernels(f"{MODEL}/conv2/{channel}", limit=2) for channel in (0, 1))
        assert one != other
        assert v.incoming_kernels(f"{MODEL}/conv2/0", limit=1) == one[:1]
    assert asked.count("read/incoming_kernels") == 3


def test_what_is_changed_in_an_answer_is_not_remembered(v: VISCNN) -> None:
    with v.remembering():
        v.model(MODEL)["name"] = "changed"
        assert v.model(MODEL)["name"] == MODEL


def test_what_this_thread_writes_is_seen_at_once(v: VISCNN) -> None:
    with v.remembering():
        assert v.queries(MODEL) == []
        uid = v.query("three", model=MODEL, max_images=5, activate=False).uid
        assert [each["active"] for each in v.queries(MODEL)] == [False]
        v.activate(uid)
        assert [each["active"] for each in v.queries(MODEL)] == [True]
        v.drop(MODEL)
        assert MODEL not in [each["name"] for each in v.models()]


def test_blocks_within_share_what_they_know_and_long_work_knows_nothing(v: VISCNN, asked: list[str]) -> None:
    with v.remembering():
        v.model(MODEL)
        with v.remembering():
            v.model(MODEL)
        assert asked == ["read/model"]
        with v.remembering(False):
            v.model(MODEL)
            v.model(MODEL)
        assert asked == ["read/model"] * 3
        v.model(MODEL)  # it may have changed something
    assert asked == ["read/model"] * 4


def test_another_thread_asks_for_itself(v: VISCNN, asked: list[str]) -> None:
    with v.remembering():
        v.model(MODEL)
        other = threading.Thread(target=v.model, args=(MODEL,))
        other.start()
        other.join()
        v.model(MODEL)
    assert asked == ["read/model"] * 2
