"""Reports of queries, circuits and the installation as JSON and as text; keys are those that tools rely on."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from viscnn.doctor import Report
    from viscnn.engine.circuit import CircuitReport
    from viscnn.engine.run import QueryReport

__all__ = ["circuit_json", "circuit_text", "doctor_json", "doctor_text", "query_json", "query_text"]

Layers = list[dict[str, Any]]


def _convolutions(layers: Layers) -> Layers:
    return [layer for layer in layers if layer["kind"] == "convolution"]


def _source(layers: Layers, number: int, output: int, kernel_input: int) -> str:
    """uid of the filter that a kernel reads, in a sequential network."""
    layer, before = layers[number + 1], layers[number]
    per_group = before["filters"] // layer["groups"]
    channel = output // (layer["filters"] // layer["groups"]) * per_group + kernel_input
    if before["kind"] == "input":
        from viscnn.ingest.rows import channel_names

        return f"{before['uid']}/{channel_names(before['filters'])[channel]}"
    return f"{before['uid']}/{channel}"


def query_json(report: "QueryReport", layers: Layers, *, top: int) -> dict[str, Any]:
    """The query with the `top` filters and kernels of each layer."""
    filters: list[dict[str, Any]] = []
    kernels: list[dict[str, Any]] = []
    for number, layer in enumerate(_convolutions(layers)):
        scores = report.filters[number]
        for channel in np.argsort(-scores, kind="stable")[:top].tolist():
            filters.append(
                {"uid": f"{layer['uid']}/{channel}", "layer": layer["name"], "score": float(scores[channel])}
            )
        table = report.kernels[number]
        for place in np.argsort(-table.ravel(), kind="stable")[:top].tolist():
            output, kernel_input = divmod(place, table.shape[1])
            kernels.append(
                {
                    "source": _source(layers, number, output, kernel_input),
                    "target": f"{layer['uid']}/{output}",
                    "layer": layer["name"],
                    "input": kernel_input,
                    "score": float(table[output, kernel_input]),
                }
            )
    return {**report.facts(), "filters": filters, "kernels": kernels}


def query_text(report: "QueryReport", layers: Layers, *, top: int) -> str:
    """The same for people; negative scores of a contrast are shown as 0, as the paper does."""
    data = query_json(report, layers, top=top)
    lines = [f"{report.uid}  {report.text}", f"{report.images} images, {report.effective_images:.1f} effective"]
    for layer in _convolutions(layers):
        name = layer["name"]
        lines.append(f"\n{name} ({layer['filters']} filters)")
        best = [f"{each['uid']} {max(each['score'], 0):.4g}" for each in data["filters"] if each["layer"] == name]
        lines.append("  filters  " + ", ".join(best))
        for each in data["kernels"]:
            if each["layer"] == name:
                lines.append(f"  kernel   {each['source']} -> {each['target']}  {max(each['score'], 0):.4g}")
    lines.append("\n" + ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in report.seconds.items()))
    lines.append("the scores are active" if report.activated else f"activate them with: viscnn activate {report.uid}")
    return "\n".join(lines)


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
