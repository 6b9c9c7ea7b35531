"""The optional adapter, where py2neo is installed; its absence is an error with the way out."""

import importlib.util
import warnings

import pytest

from viscnn.config import Connection
from viscnn.errors import ConfigError
from viscnn.py2neo_adapter import connect

INSTALLED = importlib.util.find_spec("py2neo") is not None


@pytest.mark.skipif(not INSTALLED, reason="py2neo is not installed (optional extra)")
@pytest.mark.filterwarnings("ignore")
def test_py2neo_reads_the_same_database(server: Connection) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = connect(server).run("RETURN 1 + $more AS sum", more=2).data()
    assert found == [{"sum": 3}]


@pytest.mark.skipif(INSTALLED, reason="py2neo is installed")
def test_its_absence_is_said() -> None:
    with pytest.raises(ConfigError, match=r"viscnn\[py2neo\]"):
        connect(Connection("bolt://127.0.0.1:7687", "neo4j", "x"))
