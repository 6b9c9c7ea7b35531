"""VISCNN: a convolutional network as a graph in Neo4j, and the tools to find circuits in it."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viscnn.api import VISCNN
    from viscnn.errors import ViscnnError

__all__ = ["VISCNN", "ViscnnError", "__version__"]
__version__ = "0.1.0"

_EXPORTS = {"VISCNN": "viscnn.api", "ViscnnError": "viscnn.errors"}
_checkout = Path(__file__).parent.parent
if (_checkout / "pyproject.toml").is_file():  # in a wheel the layer folders lie inside this one
    __path__.append(str(_checkout))


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
