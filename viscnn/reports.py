"""Reports of queries, circuits and the installation as JSON and as text; keys are those that tools rely on."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from viscnn.doctor import Report
    from viscnn.engine.circuit import CircuitReport
    from viscnn.engine.receptive import ReceptiveField
    from viscnn.engine.run import QueryReport
    from viscnn.ingest.load import LoadReport

__all__ = [
    "circuit_json",
    "circuit_text",
    "doctor_json",
    "doctor_text",
    "ingest_json",
    "ingest_text",
    "query_json",
    "query_text",
    "receptive_text",
]


def ingest_json(report: "LoadReport") -> dict[str, Any]:
    """What is stored of a model."""
    return {
        "model": report.model,
        "layers": report.layers,
        "filters": report.filters,
        "kernels": report.kernels,
        "kernelsLeftOut": report.kernels_left_out,
        "sums": report.sums,
        "identities": report.identities,
        "seconds": round(report.seconds, 3),
        "alreadyComplete": report.already_complete,
        "notes": list(report.notes),
    }


def ingest_text(report: "LoadReport") -> str:
    """What is stored of a model, in one line."""
    parts = [f"{report.layers} layers", f"{report.filters:,} filters", f"{report.kernels:,} kernels"]
    parts += [f"{report.kernels_left_out:,} left out"] * bool(report.kernels_left_out)
    parts += [f"{report.sums:,} sums with {report.identities:,} addends"] * bool(report.sums)
    parts += ["is complete already" if report.already_complete else f"stored in {report.seconds:.1f} s"]
    return f"{report.model}: {', '.join(parts)}"


def query_json(report: "QueryReport", *, top: int) -> dict[str, Any]:
    """The query with the `top` filters and kernels of each layer (signed criteria: by size); a sum has filters only."""
    from viscnn.engine.wiring import filter_uids

    architecture = report.architecture
    uids = filter_uids(report.model, architecture)
    filters: list[dict[str, Any]] = []
    kernels: list[dict[str, Any]] = []
    for layer, scores, table in zip(architecture.layers, report.filters, report.kernels, strict=True):
        own = f"{report.model}/{layer.name}"
        for channel in np.argsort(-_sizes(report, scores), kind="stable")[:top].tolist():
            filters.append({"uid": f"{own}/{channel}", "layer": layer.name, "score": float(scores[channel])})
        if layer.is_sum:
            continue
        sources = architecture.sources(layer)
        for place in np.argsort(-_sizes(report, table.ravel()), kind="stable")[:top].tolist():
            output, kernel_input = divmod(place, table.shape[1])
            source = int(sources[layer.source_start(output) + kernel_input])
            kernels.append(
                {
                    "source": uids[source] if source >= 0 else None,  # it reads a map that is always zero
                    "target": f"{own}/{output}",
                    "layer": layer.name,
                    "input": kernel_input,
                    "score": float(table[output, kernel_input]),
                }
            )
    return {**report.facts(), "filters": filters, "kernels": kernels}


def query_text(report: "QueryReport", *, top: int) -> str:
    """The same for people; negative scores of a contrast are shown as 0, as the paper does, signed ones as they are."""
    data = query_json(report, top=top)
    least = -np.inf if _is_signed(report) else 0.0
    lines = [f"{report.uid}  {report.text}", f"{report.images} images, {report.effective_images:.1f} effective"]
    for layer in report.architecture.layers:
        name = layer.name
        lines.append(f"\n{name} ({layer.filters} filters)")
        best = [f"{each['uid']} {max(each['score'], least):.4g}" for each in data["filters"] if each["layer"] == name]
        lines.append("  filters  " + ", ".join(best))
        for each in data["kernels"]:
            if each["layer"] == name:
                lines.append(f"  kernel   {each['source']} -> {each['target']}  {max(each['score'], least):.4g}")
    lines.append("\n" + ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in report.seconds.items()))
    lines.append("the scores are active" if report.activated else f"activate them with: viscnn activate {report.uid}")
    return "\n".join(lines)


def _is_signed(report: "QueryReport") -> bool:
    from viscnn.engine.criteria import criterion_called

    return criterion_called(report.criterion).signed


def _sizes(report: "QueryReport", scores: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """What filters or kernels are ranked by."""
    return np.abs(scores) if _is_signed(report) else scores


def circuit_json(report: "CircuitReport") -> dict[str, Any]:
    """A circuit with its evidence and its kept kernel inputs by filter."""
    selection, evidence = report.selection, report.evidence
    return {
        "circuit": report.uid,
        "model": report.model,
        "target": report.target,
        "query": report.query,
        "kernels": selection.kernels,
        "filters": len(report.inputs),
        "keptFraction": selection.kept_fraction,
        "askedKernels": selection.asked_kernels,
        "upstreamKernels": selection.upstream_kernels,
        "collapsed": selection.collapsed,
        "scale": report.spec.scale,
        "ablation": evidence.ablation,
        **evidence.properties(),
        "warnings": list(report.warnings),
        "inputs": report.inputs,
    }


def circuit_text(report: "CircuitReport") -> str:
    """The same for people."""
    selection, evidence = report.selection, report.evidence
    size = f"{selection.kernels:,} of {selection.upstream_kernels:,} upstream kernels kept"
    controls = f"random {evidence.pearson_random:.3f}, worst {evidence.pearson_worst:.3f}"
    checked = f"{evidence.images} check images of {evidence.image_sets}, {evidence.positions:,} values"
    lines = [
        f"{report.uid}  {report.target}",
        f"{size} ({selection.kept_fraction:.1%}; asked for {selection.asked_kernels:,}), {len(report.inputs)} filters",
        f"Pearson r {evidence.pearson:.3f}   Spearman {evidence.spearman:.3f}",
        f"controls of the same size: {controls}, magnitude {evidence.pearson_magnitude:.3f}",
        f"on {checked}, {evidence.ablation} ablation, {evidence.nan_count} undefined correlations",
    ]
    lines.append(f"as paths: viscnn cypher circuit_paths uid={report.uid}")
    return "\n".join(lines)


def doctor_json(report: "Report") -> dict[str, Any]:
    """The rows as objects, and how many of each state there are."""
    states = [row.state for row in report.rows]
    return {
        "rows": [{"name": row.name, "state": row.state, "detail": row.detail} for row in report.rows],
        **{state: states.count(state) for state in ("ok", "warn", "missing")},
    }


def doctor_text(report: "Report") -> str:
    """The same for people: one line per row."""
    width = max(len(row.name) for row in report.rows)
    return "\n".join(f"{row.state:7}  {row.name:{width}}  {row.detail}" for row in report.rows)


def receptive_text(uid: str, found: "ReceptiveField") -> str:
    """A receptive field in words."""
    unit = f"{uid}@{found.position[0]},{found.position[1]}"
    if found.rows is None or found.columns is None:
        return f"{unit} reads nothing of {found.towards}: padding only"
    (top, bottom), (left, right) = found.rows, found.columns
    box = f"rows {top} to {bottom}, columns {left} to {right} of {found.size[0]} x {found.size[1]}"
    above, below, before, behind = found.padding
    pixels = "every position of it" if found.full else f"{found.pixels:,} positions of it"
    lines = [f"{unit} in {found.towards}", f"{box} ({bottom - top + 1} x {right - left + 1}); {pixels}"]
    if any(found.padding):
        lines.append(
            f"in padding: {above} rows above, {below} below, {before} columns to the left, {behind} to the right"
        )
    return "\n".join(lines)
