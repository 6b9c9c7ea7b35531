"""Every error that this package raises on purpose.

    ViscnnError                     exit code 1
    |-- ServerError                 the managed Neo4j could not be started, or broke
    |-- StoredDataError             what the graph holds contradicts itself or the model
    `-- InputError                  exit code 2: the caller can put it right
        |-- ConfigError             a setting, folder or environment variable
        |-- ConnectionFailed        no Neo4j at the address, or it refused the password
        |-- ModelError              a model cannot be found, built or given its weights
        |   `-- UnsupportedModel    an operation that cannot be written as filters and kernels
        |-- ImagesError             an image source, image set or image
        |-- ExpressionError         an input expression, output or criterion
        |-- NotInGraph              a model, filter, query or circuit that is not stored
        `-- CypherRefused           ad-hoc Cypher that is not a single plain read, or is wrong

The message names the value that is wrong and the way out, in one line.
"""

__all__ = [
    "ConfigError",
    "ConnectionFailed",
    "CypherRefused",
    "ExpressionError",
    "ImagesError",
    "InputError",
    "ModelError",
    "NotInGraph",
    "ServerError",
    "StoredDataError",
    "UnsupportedModel",
    "ViscnnError",
    "nearest",
]


class ViscnnError(Exception):
    """Base of all errors of this package."""

    exit_code = 1


class ServerError(ViscnnError):
    """The managed Neo4j could not be started, or broke."""


class StoredDataError(ViscnnError):
    """What the graph holds contradicts itself or the model."""


class InputError(ViscnnError):
    """The caller gave something that cannot be used, and can put it right."""

    exit_code = 2


class ConfigError(InputError):
    """A setting, folder or environment variable cannot be used."""


class ConnectionFailed(InputError):
    """No Neo4j answers at the address, or it refused the user name and password."""


class ModelError(InputError):
    """A model cannot be found, built or given its weights."""


class UnsupportedModel(ModelError):
    """The model has an operation that cannot be written as filters and kernels."""


class ImagesError(InputError):
    """An image source, image set or image cannot be used."""


class ExpressionError(InputError):
    """An input expression, output or criterion is malformed or names something unknown."""


class NotInGraph(InputError):
    """A model, filter, query or circuit is not stored in the graph."""


class CypherRefused(InputError):
    """Ad-hoc Cypher is not a single plain read, or Neo4j rejects it."""


def nearest(name: str, known: list[str] | tuple[str, ...], *, count: int = 3) -> str:
    """A sentence that suggests the known names most like `name`; empty when none is close."""
    from difflib import get_close_matches

    lowered = {each.lower(): each for each in known}
    close = [lowered[each] for each in get_close_matches(name.lower(), list(lowered), n=count, cutoff=0.5)]
    return f"; did you mean {' or '.join(close)}?" if close else ""
