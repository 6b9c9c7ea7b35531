"""One query end to end: parse, find images, score each image set, combine, write back, activate.

A contrast such as `tiger - overall` acts on the mean scores of its image sets (difference of averages): each set is
scored once, cached, and combined linearly. Scores are stored raw and signed; views clip and normalise.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viscnn.engine.bundle import Bundle
from viscnn.engine.criteria import Criterion, criterion_called
from viscnn.engine.expression import Expression, parse
from viscnn.engine.images import OVERALL, ImageCollection, images_hash, skipped_note
from viscnn.engine.output import parse_output
from viscnn.engine.scoring import Job, Running, score_jobs
from viscnn.engine.sums import SetScores
from viscnn.engine.target import Target, resolve
from viscnn.errors import ExpressionError, StoredDataError
from viscnn.graph import Graph
from viscnn.graph_scores import ScoredLayer, activate_scores, save_importance, save_scores, stored_scores
from viscnn.ingest.architecture import Architecture

__all__ = [
    "DEFAULT_OUTPUT",
    "QueryReport",
    "QuerySpec",
    "read_scores",
    "run_queries",
    "run_query",
    "score_queries",
    "score_query",
]

FEW_EFFECTIVE = 5.0


@dataclass(frozen=True)
class QuerySpec:
    """What a person asks: input expression, output, criterion, and at most how many images of each set are used.

    `output` None means the loss, or the mean of the last layer for a model without logits; `max_images` 0 means all.
    """

    input: str
    output: str | None = None
    criterion: str = "taylor"
    max_images: int = 500


@dataclass(frozen=True)
class QueryReport:
    """A scored query: arrays per layer in the order of execution, and what it rests on.

    Of a sum, `kernels` are the scores of its identities, (filters, addends).
    """

    uid: str
    model: str
    architecture: Architecture = field(repr=False)
    text: str
    input: str
    output: str
    criterion: str
    kernels: tuple[NDArray[np.float64], ...]
    filters: tuple[NDArray[np.float64], ...]
    images: int
    available_images: int
    effective_images: float
    images_hash: str
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    activated: bool = False

    def facts(self) -> dict[str, Any]:
        """All but the scores, under the keys of `--json`."""
        return {
            "query": self.uid,
            "model": self.model,
            "text": self.text,
            "input": self.input,
            "output": self.output,
            "criterion": self.criterion,
            "images": self.images,
            "availableImages": self.available_images,
            "effectiveImages": self.effective_images,
            "activated": self.activated,
            "warnings": list(self.warnings),
            "seconds": self.seconds,
        }


DEFAULT_OUTPUT = "loss"


class Phases:
    """Seconds per named phase, measured between calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.monotonic()

    def end(self, name: str) -> None:
        """The time since the last call belongs to `name`."""
        now = time.monotonic()
        self.seconds[name] = round(self.seconds.get(name, 0.0) + now - self._since, 4)
        self._since = now


def score_query(
    bundle: Bundle,
    spec: QuerySpec,
    *,
    running: Running | None = None,
    phases: Phases | None = None,
) -> QueryReport:
    """Compute the scores of a query without touching the graph.

    Raises:
        ExpressionError: a malformed or unknown input, output or criterion.
        ImagesError: an image set is empty.
    """
    return score_queries(bundle, [spec], running=running, phases=phases)[0]


def score_queries(
    bundle: Bundle,
    specs: Sequence[QuerySpec],
    *,
    running: Running | None = None,
    phases: Phases | None = None,
) -> list[QueryReport]:
    """Several queries at once: each image set is read and run once for all the queries that use it."""
    phases = phases or Phases()
    asked = [_asked(bundle, spec) for spec in specs]
    phases.end("images")
    jobs: dict[tuple[int, ...], dict[tuple[str, str], Job]] = {}
    for each in asked:
        for indices in each.chosen.values():
            jobs.setdefault(indices, {})[each.key] = Job(each.target, each.criterion)
    scores = {
        indices: dict(zip(of, score_jobs(bundle, indices, list(of.values()), running=running), strict=True))
        for indices, of in jobs.items()
    }
    phases.end("scores")
    return [_report(bundle, each, scores, phases) for each in asked]


@dataclass(frozen=True)
class _Asked:
    """A query whose names are resolved; `chosen` are the images of each of its sets."""

    expression: Expression
    target: Target
    criterion: Criterion
    chosen: dict[str, tuple[int, ...]]

    @property
    def key(self) -> tuple[str, str]:
        return self.target.text, self.criterion.text


def _asked(bundle: Bundle, spec: QuerySpec) -> _Asked:
    expression = parse(spec.input).renamed(lambda name: bundle.collection.find(name).name)
    target = _target(bundle, spec.output)
    criterion = criterion_called(spec.criterion)
    chosen = {
        name: bundle.collection.select(name, "score", spec.max_images or None, required=True)
        for name in expression.names
    }
    return _Asked(expression, target, criterion, chosen)


def _report(
    bundle: Bundle,
    asked: _Asked,
    found: Mapping[tuple[int, ...], Mapping[tuple[str, str], SetScores]],
    phases: Phases,
) -> QueryReport:
    expression, target, criterion, chosen = asked.expression, asked.target, asked.criterion, asked.chosen
    parts = [(weight, found[chosen[name]][asked.key]) for weight, name in expression.terms]
    used = sorted({index for indices in chosen.values() for index in indices})
    available = {index for name in expression.names for index in bundle.collection.select(name, "score")}
    effective = _effective_images(parts)
    skipped = {path for _, scores in parts for path in scores.skipped}
    guessed = [index for index in used if target.needs_labels and bundle.class_numbers()[index] is None]
    keys = [[weight, scores.key] for weight, scores in parts]
    return QueryReport(
        uid=_uid(bundle, str(expression), target.text, criterion.text, keys),
        model=bundle.name,
        architecture=bundle.architecture,
        text=f"{expression} -> {target.text} [{criterion.text}]",
        input=str(expression),
        output=target.text,
        criterion=criterion.text,
        kernels=_combined([(weight, scores.kernels) for weight, scores in parts]),
        filters=_combined([(weight, scores.filters) for weight, scores in parts]),
        images=len(used) - len(skipped),
        available_images=len(available),
        effective_images=effective,
        images_hash=images_hash([bundle.collection.items[index] for index in used]),
        warnings=_warnings(bundle.collection, effective, len(used), len(available), len(skipped), len(guessed)),
        seconds=phases.seconds,
    )


def _target(bundle: Bundle, output: str | None) -> Target:
    """The target of an output; by default the loss, or the last layer of a model without logits."""
    text = output or (DEFAULT_OUTPUT if bundle.architecture.logits else "layer:LAST")
    return resolve(parse_output(text), model=bundle.name, architecture=bundle.architecture, classes=bundle.classes)


def _combined(parts: list[tuple[float, tuple[NDArray[np.float64], ...]]]) -> tuple[NDArray[np.float64], ...]:
    return tuple(
        np.sum([weight * layers[number] for weight, layers in parts], axis=0) for number in range(len(parts[0][1]))
    )


def _effective_images(parts: list[tuple[float, SetScores]]) -> float:
    """(sum s)^2 / sum s^2 over the images' shares of the result, those of all its sets together: how many decide it."""
    of_image: dict[str, float] = {}
    for weight, scores in parts:
        for image, share in zip(scores.images, abs(weight) * scores.totals / len(scores.totals), strict=True):
            of_image[image] = of_image.get(image, 0.0) + float(share)
    shares = np.array(list(of_image.values()))
    squares = float((shares**2).sum())
    return float(shares.sum()) ** 2 / squares if squares > 0 else 0.0


def _warnings(
    collection: ImageCollection, effective: float, used: int, available: int, skipped: int, guessed: int
) -> tuple[str, ...]:
    found = list(skipped_note(collection))
    if used < available:
        found.append(f"{used} of {available} images were used (the same ones each time; see the maximum per image set)")
    if guessed:
        found.append(f"{guessed} images have a label that is no class of the model: its own prediction was used")
    if skipped:
        found.append(f"{skipped} images could not be decoded and were left out")
    if effective < FEW_EFFECTIVE < used:
        found.append(f"{effective:.1f} images decide the result (of {used}): a few of them dominate")
    return tuple(found)


def _uid(bundle: Bundle, expression: str, output: str, criterion: str, keys: list[list[Any]]) -> str:
    """The same for the same scores: `keys` are the terms' weights and score keys, which cover all they depend on."""
    key = json.dumps([expression, output, criterion, keys])
    return f"{bundle.name}/query/{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def run_query(
    graph: Graph,
    bundle: Bundle,
    spec: QuerySpec,
    *,
    activate: bool = True,
    running: Running | None = None,
) -> QueryReport:
    """Score a query, write it to SCORED and (unless told otherwise) activate it.

    Nothing is written before all scores are there, so a failing query leaves the graph as it was.
    """
    return run_queries(graph, bundle, [spec], activate=activate, running=running)[0]


def run_queries(
    graph: Graph,
    bundle: Bundle,
    specs: Sequence[QuerySpec],
    *,
    activate: bool = True,
    running: Running | None = None,
) -> list[QueryReport]:
    """Score several queries in as few passes over the images as can be, write them all, and activate the first."""
    if not specs:
        raise ExpressionError("no query was asked: give at least one output and one criterion")
    phases = Phases()
    reports = score_queries(bundle, specs, running=running, phases=phases)
    for spec, report in zip(specs, reports, strict=True):
        _save(graph, bundle, spec, report)
    phases.end("write")
    if activate:
        if graph.read("read/model", model=bundle.name)[0]["activeQuery"] != reports[0].uid:
            activate_scores(graph, reports[0].uid)
        phases.end("activate")
    return [
        replace(report, seconds=phases.seconds, activated=activate and number == 0)
        for number, report in enumerate(reports)
    ]


def _save(graph: Graph, bundle: Bundle, spec: QuerySpec, report: QueryReport) -> None:
    """Write a query and its scores, unless they are stored."""
    if not _is_stored(graph, report):
        if not graph.write("write/save_query", model=bundle.name, uid=report.uid, properties=_properties(report)):
            raise StoredDataError(f"model {bundle.name} was removed while it was scored; nothing is stored")
        layers = zip(bundle.architecture.layers, report.filters, report.kernels, strict=True)
        scored = [ScoredLayer(f"{bundle.name}/{layer.name}", *of) for layer, *of in layers]
        save_scores(graph, report.uid, scored, replace=False)
    if _is_importance(graph, bundle, spec, report):
        save_importance(graph, report.uid)


def _is_stored(graph: Graph, report: QueryReport) -> bool:
    found = graph.read("read/query", uid=report.uid)
    return bool(found) and found[0]["status"] == "complete"


def _is_importance(graph: Graph, bundle: Bundle, spec: QuerySpec, report: QueryReport) -> bool:
    """Whether this query is the one that `importance` caches: taylor of `overall` towards the loss.

    Not where it is that already, where other images than the model's own are meant, or fewer than by default.
    """
    if (report.input, report.criterion, report.output) != (OVERALL, "taylor", _target(bundle, None).text):
        return False
    stored = {row["name"]: row["hash"] for row in graph.read("read/image_sets", model=bundle.name)}
    own = stored.get(OVERALL, "") in ("", images_hash(bundle.collection.items))
    if not own or 0 < spec.max_images < QuerySpec.max_images:
        return False
    return bool(graph.read("read/model", model=bundle.name)[0]["importanceQuery"] != report.uid)


def _properties(report: QueryReport) -> dict[str, Any]:
    criterion = criterion_called(report.criterion)
    return {
        "text": report.text,
        "input": report.input,
        "output": report.output,
        "criterion": report.criterion,
        "signed": criterion.signed,
        "parameters": json.dumps(dict(criterion.parameters)),
        "images": report.images,
        "imagesHash": report.images_hash,
        "effectiveImages": report.effective_images,
        "createdAt": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "seconds": sum(report.seconds.values()),
    }


def read_scores(
    graph: Graph, uid: str, filters: list[int]
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Stored kernel and filter scores of a query per layer; `filters` are the layers' numbers of filters.

    Raises:
        NotInGraph: no complete query of that uid.
        StoredDataError: it has scores of other filters.
    """
    scores = stored_scores(graph, uid)
    ends = np.cumsum([0, *filters])
    if len(scores.filters) != ends[-1]:
        raise StoredDataError(
            f"query {uid} has scores of {len(scores.filters)} filters, its model has {ends[-1]}; run the query again"
        )
    kernels = []
    for first, end in pairwise(ends.tolist()):
        part = scores.kernels[scores.starts[first] : scores.starts[end]]
        kernels.append(part.reshape(end - first, -1) if part.size % (end - first) == 0 else part.reshape(1, -1))
    return kernels, np.split(scores.filters, ends[1:-1])


if __name__ == "__main__":  # torchrun -m viscnn.engine.run
    from viscnn.engine.distributed_run import main

    main()
