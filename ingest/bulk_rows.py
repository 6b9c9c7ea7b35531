"""A model as Parquet files for Neo4j's import tool, written as the rows are made.

A column is named `property:type`; `:ID`, `:START_ID` and `:END_ID` number the nodes over all files: filters as
`Architecture.numbers` counts them, then the layers, then the model. A property that is null in Cypher has no column in
its file, so that rows with different properties lie in different files.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from viscnn.ingest import layout, rows
from viscnn.ingest.contents import Contents
from viscnn.ingest.kernels import SIGNS, Block, KernelBlock, identity_blocks, kernel_blocks
from viscnn.ingest.structure import Architecture
from viscnn.progress import Progress, silent
from viscnn.server.bulk import RowFile

__all__ = ["RowFiles", "disk_bytes", "write_rows"]

_TYPES = {bool: "boolean", int: "long", float: "double", str: "string"}
_ARROW = {"boolean": pa.bool_(), "long": pa.int64(), "double": pa.float64(), "string": pa.string()}
_REPEATED = [":END_ID", "input:long", "layer:long", "sign:string"]
"""Columns of kernels with few different values, which lie in the file once."""

_GROUP_BYTES = 32_000_000
"""Of the rows that are collected before they are written: fewer and larger groups are read faster."""

_FIXED_BYTES = 500_000_000
_KERNEL_BYTES = 270
_RECORD_BYTES, _RECORD_WEIGHTS = 128, 13


class RowFiles:
    """The files of one model: rows of the same kind and columns lie in the same file; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[tuple[str, tuple[str, ...]], pq.ParquetWriter] = {}
        self._nodes: list[RowFile] = []
        self._relationships: list[RowFile] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def nodes(self) -> tuple[RowFile, ...]:
        """Files of nodes, in the order in which they were begun."""
        return tuple(self._nodes)

    @property
    def relationships(self) -> tuple[RowFile, ...]:
        """Files of relationships."""
        return tuple(self._relationships)

    def add(self, kind: str, numbers: Mapping[str, Sequence[int]], properties: Sequence[Mapping[str, Any]]) -> None:
        """Write rows with properties of Python types, each as Bolt would send it.

        Args:
            kind: labels of the nodes with colons between them, or the type of the relationships.
            numbers: by `:ID`, or by `:START_ID` and `:END_ID`, one number per row.
            properties: of each row; those that are None are left out.
        """
        alike: dict[tuple[tuple[str, str], ...], list[int]] = {}
        for place, row in enumerate(properties):
            columns = tuple((key, _type(value)) for key, value in row.items() if value is not None)
            alike.setdefault(columns, []).append(place)
        for columns, places in alike.items():
            data = {key: pa.array([values[place] for place in places], pa.int64()) for key, values in numbers.items()}
            for key, kind_of in columns:
                data[f"{key}:{kind_of}"] = pa.array([properties[place][key] for place in places], _arrow(kind_of))
            self.add_table(kind, pa.table(data))

    def add_table(self, kind: str, table: pa.Table) -> None:
        """Write a table as one row group."""
        if not table.num_rows:
            return
        key = kind, tuple(table.column_names)
        if key not in self._writers:
            path = self._folder / f"{len(self._writers)}.parquet"
            repeated = [name for name in table.column_names if name in _REPEATED]
            writer = pq.ParquetWriter(path, table.schema, compression="none", use_dictionary=repeated)
            self._writers[key] = self._stack.enter_context(writer)
            (self._nodes if ":ID" in table.column_names else self._relationships).append(RowFile(kind, path))
        self._writers[key].write_table(table, row_group_size=table.num_rows)


def _type(value: Any) -> str:
    """The import tool's name of a value's type; Cypher's empty list is one of strings to it."""
    if isinstance(value, list):
        return f"{_type(value[0]) if value else 'string'}[]"
    return _TYPES[type(value)]


def _arrow(kind: str) -> pa.DataType:
    return pa.list_(_ARROW[kind.removesuffix("[]")]) if kind.endswith("[]") else _ARROW[kind]


def write_rows(files: RowFiles, contents: Contents, *, progress: Progress = silent) -> None:
    """Write all that is stored of a model but classes and projections, as the Bolt loader does in an empty database."""
    name, architecture = contents.name, contents.architecture
    layers = [row | {"key": row["index"] + 1} for row in rows.layer_rows(name, architecture, row=_row(architecture))]
    count = architecture.input_shape[0] + sum(layer.filters for layer in architecture.layers)
    numbers = {row["uid"]: count + place for place, row in enumerate(layers)}
    root = count + len(layers)
    files.add("Model", {":ID": [root]}, [{"name": name, "status": "ingesting"} | contents.properties])
    files.add("Layer", {":ID": [*numbers.values()]}, layers)
    files.add("HAS_LAYER", {":START_ID": [root] * len(layers), ":END_ID": [*numbers.values()]}, [{}] * len(layers))
    feeds = rows.feed_rows(name, architecture)
    ends = {
        f":{end}_ID": [numbers[feed[key]] for feed in feeds] for end, key in (("START", "source"), ("END", "target"))
    }
    files.add("FEEDS", ends, [feed["properties"] for feed in feeds])
    _write_filters(files, contents, numbers)
    keys = {row["name"]: row["key"] for row in layers}
    for table in _grouped(_table(block, architecture, keys) for block in identity_blocks(architecture)):
        files.add_table("IDENTITY", table)
    _write_kernels(files, contents, keys, progress)


def _row(architecture: Architecture) -> float:
    """Height of the model's middle in the unrolled picture: its topmost discs are centred at 0."""
    return -layout.height(architecture) / 2


def _write_filters(files: RowFiles, contents: Contents, numbers: Mapping[str, int]) -> None:
    first = 0
    for part in rows.filter_rows(contents.name, contents.architecture, row=_row(contents.architecture)):
        own = range(first, first + len(part.rows))
        first = own.stop
        files.add(":".join(["Filter", *part.labels]), {":ID": own}, part.rows)
        ends = {":START_ID": [numbers[part.layer]] * len(own), ":END_ID": own}
        files.add("HAS_FILTER", ends, [{}] * len(own))


def _write_kernels(files: RowFiles, contents: Contents, keys: Mapping[str, int], progress: Progress) -> None:
    done, architecture = 0, contents.architecture
    blocks = kernel_blocks(architecture, contents.extent, contents.kept)
    for table in _grouped(_kernel_table(block, architecture, keys) for block in blocks):
        files.add_table("KERNEL", table)
        done += table.num_rows
        progress("writing kernels", done, contents.kept.kernels)


def _kernel_table(block: KernelBlock, architecture: Architecture, keys: Mapping[str, int]) -> pa.Table:
    signs = pa.DictionaryArray.from_arrays(pa.array(block.sign + 1, pa.int8()), pa.array(SIGNS))
    table = _table(block, architecture, keys)
    columns = {"l1:double": block.l1, "l2:double": block.l2, "signRatio:double": block.sign_ratio, "sign:string": signs}
    if block.weights is not None:
        columns["weights:double[]"] = _lists(block.weights)
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    return table


def _table(block: Block, architecture: Architecture, keys: Mapping[str, int]) -> pa.Table:
    return pa.table(
        {
            ":START_ID": block.sources,
            ":END_ID": block.outputs + architecture.numbers[block.layer.name],
            "input:long": block.inputs,
            "layer:long": np.full(len(block.inputs), keys[block.layer.name]),
        }
    )


def _lists(weights: NDArray[np.float32]) -> pa.ListArray:
    """Each row of (k, n) as a list."""
    count, size = weights.shape
    ends = np.arange(count + 1, dtype=np.int32) * np.int32(size)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(weights.astype(np.float64).reshape(-1)))


def _grouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Neighbouring tables together, up to the size of a row group."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(each.nbytes for each in held) >= _GROUP_BYTES:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


def disk_bytes(contents: Contents) -> int:
    """Disk space that a bulk load takes at its height, row files included; measured, and rather too much."""
    layers = contents.architecture.layers
    each = float(_KERNEL_BYTES)
    if contents.extent.weights:
        weights = sum(layer.kernels * layer.kernel_size[0] * layer.kernel_size[1] for layer in layers)
        average = weights / max(1, contents.architecture.kernels)
        each += 8 * average + _RECORD_BYTES * np.ceil(average / _RECORD_WEIGHTS)
    return _FIXED_BYTES + int(each * contents.kept.kernels)
