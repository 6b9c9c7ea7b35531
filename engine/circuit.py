"""Circuits: extracted from stored scores, verified by running the masked network, and only then stored.

1. read the query's scores from the graph; number all filters, input channels first;
2. select the kernels (selection.py), and controls of the same size (controls.py);
3. run the masked networks on `check` images and correlate the target's response with the unmasked one (verify.py);
4. store the circuit with its evidence in one transaction.

A circuit is made of kernels, and of the identities of sums that their paths need; only kernels are counted. Gates lie
on no path of kernels: they have scores, but belong to no circuit (other than one whose target they are).
"""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viscnn.engine.bundle import Bundle
from viscnn.engine.connectivity import Mask
from viscnn.engine.criteria import CRITERIA, criterion_called
from viscnn.engine.output import parse_output
from viscnn.engine.run import QueryReport, QuerySpec, read_scores, run_query
from viscnn.engine.scoring import Running
from viscnn.engine.selection import SCALES, Selection, select
from viscnn.engine.target import Target, resolve
from viscnn.engine.verify import ABLATIONS, Evidence, VerifySpec, check_images, verify
from viscnn.engine.wiring import filter_uids, layer_network, source_numbers, target_numbers
from viscnn.errors import ExpressionError, NotInGraph, StoredDataError, nearest
from viscnn.graph import Graph
from viscnn.ingest.architecture import Architecture

__all__ = [
    "DEFAULT_SCALE",
    "CircuitReport",
    "CircuitSpec",
    "extract",
    "filter_uids",
    "layer_network",
    "require_query",
    "run_circuit",
    "store",
    "target_numbers",
]

DEFAULT_SCALE = "sum"


@dataclass(frozen=True)
class CircuitSpec:
    """How a circuit is chosen and checked; `keep` is the share of the kernels upstream of the target."""

    keep: float
    scale: str = DEFAULT_SCALE
    excitatory: bool = False
    verify: VerifySpec = field(default_factory=VerifySpec)

    def check(self) -> None:
        """Raise ExpressionError when a setting cannot be used, before anything is computed."""
        if not 0 < self.keep <= 1:
            raise ExpressionError(f"the kept fraction {self.keep} must be above 0 and at most 1; give for example 0.1")
        for what, value, known in (("scale", self.scale, SCALES), ("ablation", self.verify.ablation, ABLATIONS)):
            if value not in known:
                raise ExpressionError(f"unknown {what} {value!r}{nearest(value, known)} (one of {', '.join(known)})")


@dataclass(frozen=True)
class CircuitReport:
    """A verified circuit."""

    uid: str
    model: str
    target: str
    query: str
    spec: CircuitSpec
    selection: Selection
    evidence: Evidence
    inputs: dict[str, list[int]]  # kept kernel inputs by filter uid; of a sum, its kept addends
    target_layers: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def run_circuit(
    graph: Graph,
    bundle: Bundle,
    asked: QuerySpec,
    spec: CircuitSpec,
    *,
    running: Running | None = None,
) -> CircuitReport:
    """Score `asked` (whose output is the circuit's target) unless it is stored, then extract, verify and store.

    Raises:
        ExpressionError, ImagesError, NotInGraph: nothing was stored.
    """
    spec.check()
    if spec.excitatory and not criterion_called(asked.criterion).signed:
        signed = ", ".join(name for name, each in CRITERIA.items() if each.signed)
        raise ExpressionError(f"scores of {asked.criterion!r} have no sign to be excitatory by; use one of {signed}")
    output = parse_output(asked.output or "loss")
    target = resolve(output, model=bundle.name, architecture=bundle.architecture, classes=bundle.classes)
    check_images(bundle, asked.input, spec.verify.max_images)  # before anything is stored
    query = run_query(graph, bundle, asked, activate=False, running=running)
    report = extract(graph, bundle, query, target, spec)
    store(graph, report)
    return report


def extract(graph: Graph, bundle: Bundle, query: QueryReport, target: Target, spec: CircuitSpec) -> CircuitReport:
    """Extract and verify the circuit that the stored scores of `query` select for `target`.

    Raises:
        ExpressionError: a kept fraction outside (0, 1], an unknown scale or ablation.
        StoredDataError: the stored scores do not fit the model.
    """
    spec.check()
    architecture = bundle.architecture
    network = layer_network(bundle.name, architecture, _stored_kernels(graph, bundle, query.uid))
    targets = target_numbers(architecture, target)
    sources = source_numbers(architecture)
    selection = select(
        network,
        targets,
        sources,
        keep=spec.keep,
        scale=spec.scale,
        signed=criterion_called(query.criterion).signed,
        excitatory=spec.excitatory,
    )
    evidence = verify(bundle, query, target, network, selection, targets, sources, spec.verify)
    uid = _uid(bundle.name, query.uid, target.text, spec)
    return CircuitReport(
        uid=uid,
        model=bundle.name,
        target=target.text,
        query=query.uid,
        spec=spec,
        selection=selection,
        evidence=evidence,
        inputs=_kept_inputs(bundle.name, architecture, selection.mask),
        target_layers=tuple(layer.name for layer, _ in target.filters),
        warnings=(*query.warnings, *_caveats(selection, evidence)),
    )


def _caveats(selection: Selection, evidence: Evidence) -> tuple[str, ...]:
    """What a reader of the circuit should know first."""
    found = []
    controls = {"random": evidence.pearson_random, "worst": evidence.pearson_worst}
    controls["magnitude"] = evidence.pearson_magnitude
    better = [name for name, r in controls.items() if r > evidence.pearson]
    if better:
        verb = "predict" if len(better) > 1 else "predicts"
        found.append(f"the {' and the '.join(better)} control of the same size {verb} the target better")
    if selection.collapsed:
        found.append("no path of top-ranked kernels fits into the asked size: the strongest path stands in")
    elif selection.kernels < 0.9 * selection.asked_kernels:
        found.append(
            f"only {selection.kernels} kernels of a positive score lie on paths ({selection.asked_kernels} asked)"
        )
    return tuple(found)


def _stored_kernels(graph: Graph, bundle: Bundle, uid: str) -> list[NDArray[np.float64]]:
    layers = bundle.architecture.layers
    kernels, _ = read_scores(graph, uid, [layer.filters for layer in layers])
    for layer, scores in zip(layers, kernels, strict=True):
        if scores.shape != (layer.filters, layer.inputs):
            raise StoredDataError(f"query {uid} has no complete scores for layer {layer.name}; run the query again")
    return kernels


def _kept_inputs(model: str, architecture: Architecture, mask: Mask) -> dict[str, list[int]]:
    """Kept kernel inputs by filter uid, of a sum its kept addends; filters without any are not in the circuit."""
    return {
        f"{model}/{layer.name}/{channel}": np.flatnonzero(kept[channel]).tolist()
        for layer, kept in zip(architecture.layers, mask, strict=True)
        for channel in np.flatnonzero(kept.any(axis=1)).tolist()
    }


def _uid(model: str, query: str, target: str, spec: CircuitSpec) -> str:
    key = json.dumps([query, target, spec.keep, spec.scale, spec.excitatory, vars(spec.verify)], default=str)
    return f"{model}/circuit/{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def store(graph: Graph, report: CircuitReport) -> None:
    """Write a verified circuit in one transaction; raises StoredDataError when fewer filters are stored than kept."""
    rows = [{"uid": uid, "kernelInputs": inputs} for uid, inputs in report.inputs.items()]
    written = graph.write("write/save_circuit", uid=report.uid, properties=_properties(report), rows=rows)
    if not written:
        raise StoredDataError(f"model {report.model} or query {report.query} was removed meanwhile; nothing is stored")
    for what, sent in (("filters", len(rows)), ("kernels", report.selection.kernels)):
        if written[0][what] != sent:
            raise StoredDataError(
                f"circuit {report.uid}: {sent} {what} were sent, {written[0][what]} are stored; run it again"
            )


def _properties(report: CircuitReport) -> dict[str, Any]:
    evidence, selection = report.evidence, report.selection
    return {
        "model": report.model,
        "target": report.target,
        "targetLayers": list(report.target_layers),
        "query": report.query,
        "scale": report.spec.scale,
        "keep": report.spec.keep,
        "ablation": report.spec.verify.ablation,
        "askedKernels": selection.asked_kernels,
        "upstreamKernels": selection.upstream_kernels,
        "keptFraction": selection.kept_fraction,
        "kernels": selection.kernels,
        "filters": len(report.inputs),
        "collapsed": selection.collapsed,
        "createdAt": datetime.now(UTC).isoformat(timespec="milliseconds"),
        **evidence.properties(),
    }


def require_query(graph: Graph, uid: str) -> dict[str, Any]:
    """The properties of a complete stored query; raises NotInGraph."""
    found = graph.read("read/query", uid=uid)
    if not found or found[0]["status"] != "complete":
        raise NotInGraph(f"no complete query {uid!r} is stored (list them with: viscnn queries --model MODEL)")
    return found[0]
