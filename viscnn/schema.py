"""What the graph is made of: labels, relationship types and properties, each defined here once.

`docs/schema.md` is made from these tables (`python -m viscnn.schema > docs/schema.md`), and a test holds a real graph
against them: nothing is stored that is not declared.
"""

from dataclasses import dataclass

__all__ = ["NODES", "RELATIONSHIPS", "NodeType", "RelationshipType", "as_markdown"]


@dataclass(frozen=True)
class NodeType:
    """A label with its properties (name: type and meaning); `key` is unique."""

    label: str
    key: str
    meaning: str
    properties: dict[str, str]


@dataclass(frozen=True)
class RelationshipType:
    """A relationship type between labels, with its properties (name: type and meaning)."""

    name: str
    source: str
    target: str
    meaning: str
    properties: dict[str, str]


NODES = (
    NodeType(
        "Model",
        "name",
        "A network.",
        {
            "name": "string: letters, digits and _ . -",
            "architecture": "string: `torchvision.alexnet`, or the class of a user's module",
            "status": "string: `ingesting` or `complete`; only complete models are shown",
            "weightsHash": "string: SHA-256 over names, types, shapes and values of all parameters",
            "inputShape": "list of integers: channels, rows, columns",
            "preprocess": "string, JSON: size, resize, mode, scale, mean, std, interpolation",
            "classes": "list of strings: names of the logits, in order",
            "logits": "integer: number of logits; 0 when the model returns maps",
            "importanceOutput": "string: the output that `importance` is towards (`loss`, or the last layer)",
            "importanceQuery": "string: uid of the query whose scores are in `importance`; null when there are none",
            "mixesChannels": "boolean: some step between layers mixes channels (LRN)",
            "signCutoffs": "list of floats: signRatio below the first is inhibitory, above the second excitatory",
            "schemaVersion": "integer",
            "createdAt": "string: ISO 8601, UTC",
            "activeQuery": "string: uid of the query whose scores are in `score`; null when `score` is not valid",
            "activation": "string: random, names the activation that began last; an earlier one gives way to it",
            "importanceRun": "string: random, the same for the writing of `importance`",
            "activeProjection": "string: uid of the projection whose places are in u and v",
        },
    ),
    NodeType(
        "Layer",
        "uid",
        "A convolution call, or the input.",
        {
            "uid": "string: `model/module path`; the second call of a shared module is `path#2`",
            "model": "string: name of the model",
            "name": "string: module path, or `input`",
            "key": "integer: database-wide, for the index on KERNEL (layer, score)",
            "index": "integer: depth; 0 is the input",
            "kind": "string: `input` or `convolution`",
            "stride": "list of integers",
            "padding": "list of integers, or `same` / `valid`",
            "paddingMode": "string: zeros, reflect, replicate or circular",
            "dilation": "list of integers",
            "groups": "integer",
            "kernelSize": "list of integers: rows, columns",
            "filters": "integer: number of filters, or of input channels",
            "positions": "integer: rows x columns of an output map",
            "outputSize": "list of integers: rows, columns of an output map",
            "activation": "string: the one pointwise activation that consumes the maps; null when a = Z",
            "x": "float: centre of the layer in the unrolled picture",
            "y": "float: centre of the layer in the unrolled picture",
        },
    ),
    NodeType(
        "Filter",
        "uid",
        "One output channel of a layer; with the label InputChannel, a channel of the image.",
        {
            "uid": "string: `model/layer/channel`; inputs `model/input/r`",
            "model": "string: name of the model",
            "layer": "string: name of the layer",
            "layerIndex": "integer: depth of the layer",
            "channel": "integer",
            "name": "string: `layer/channel`",
            "u": "float: place in the layer's disc; unit: radius of the largest layer's disc",
            "v": "float: place in the layer's disc",
            "z": "float: depth",
            "x": "float: place in the unrolled 2-D picture",
            "y": "float: place in the unrolled 2-D picture",
            "bias": "float: bias of the folded convolution; null for input channels",
            "importance": "float: cached score of `overall` towards Model.importanceOutput",
            "score": "float: score of the active query",
            "classProfile": "list of floats: score for every class, L2-normalised",
        },
    ),
    NodeType(
        "ImageSet",
        "uid",
        "A named set of images; `overall` is all of them.",
        {
            "uid": "string: `model/images/name`",
            "model": "string: name of the model",
            "name": "string",
            "images": "integer: number of images",
            "hash": "string: SHA-256 over the images' hashes",
        },
    ),
    NodeType(
        "Query",
        "uid",
        "An input expression, an output and a criterion, with stored scores.",
        {
            "uid": "string: `model/query/hash`",
            "model": "string: name of the model",
            "text": "string: the query in one line",
            "input": "string: canonical input expression",
            "output": "string: canonical output",
            "criterion": "string",
            "signed": "boolean: whether the criterion's scores have a sign for a single image set",
            "parameters": "string, JSON: parameters of the criterion",
            "images": "integer: number of images that were used",
            "imagesHash": "string: SHA-256 over their hashes",
            "effectiveImages": "float: (sum s)^2 / sum s^2 over the images' totals",
            "createdAt": "string: ISO 8601, UTC",
            "seconds": "float: time of scoring",
            "status": "string: `scoring` or `complete`",
            "scoresStamp": "string: random, a new one whenever SCORED is written; copies of the scores are known by it",
        },
    ),
    NodeType(
        "Circuit",
        "uid",
        "A verified set of kernels and filters that reaches a target.",
        {
            "uid": "string: `model/circuit/hash`",
            "model": "string: name of the model",
            "target": "string: the output that it reaches",
            "targetLayerIndex": "integer: depth of the target's layer",
            "query": "string: uid of the query whose scores selected it",
            "scale": "string: sum, layer-l2 or raw",
            "keep": "float: share of the upstream kernels that was asked for",
            "keptFraction": "float: share that is kept",
            "kernels": "integer: kept kernels",
            "filters": "integer: filters with a kept incoming kernel",
            "askedKernels": "integer",
            "upstreamKernels": "integer: kernels on any path to the target",
            "collapsed": "boolean: no set of top kernels of that size held a path; the strongest path stands in",
            "ablation": "string: what removed kernels read when verifying: zero, mean or resample",
            "pearson": "float: r of the target's response with the whole network's; null when undefined",
            "spearman": "float: the same by ranks",
            "pearsonRandom": "float: mean r of random controls of the same size",
            "pearsonWorst": "float: r of the control of lowest scores",
            "pearsonMagnitude": "float: r of the control of largest weights",
            "nanCount": "integer: undefined correlations among circuit and controls",
            "checkImages": "integer: images that were checked on",
            "checkPositions": "integer: values compared",
            "checkSets": "string: their image sets",
            "createdAt": "string: ISO 8601, UTC",
        },
    ),
    NodeType(
        "Projection",
        "uid",
        "A 2-D layout of every layer's filters.",
        {
            "uid": "string: `model/projection/method`",
            "model": "string: name of the model",
            "method": "string",
            "seed": "integer",
        },
    ),
)

RELATIONSHIPS = (
    RelationshipType("HAS_LAYER", "Model", "Layer", "The layers of a model.", {}),
    RelationshipType("HAS_FILTER", "Layer", "Filter", "The filters of a layer.", {}),
    RelationshipType(
        "FEEDS",
        "Layer",
        "Layer",
        "The maps of one layer reach another.",
        {
            "position": "integer: order among the sources that are concatenated",
            "sourceStart": "integer: first channel of the source",
            "targetStart": "integer: first input channel of the target",
            "channels": "integer: number of channels",
            "operations": "list of strings, JSON each: what happens in between, in order, complete enough to replay",
        },
    ),
    RelationshipType(
        "KERNEL",
        "Filter",
        "Filter",
        "One 2-D kernel W[o, i].",
        {
            "input": "integer: index i within the group",
            "layer": "integer: `key` of the target's layer",
            "weights": "list of floats: the kernel row by row",
            "l1": "float: sum |W|",
            "l2": "float: sqrt(sum W^2)",
            "signRatio": "float: sum W / sum |W|, in [-1, 1]; 0 for an all-zero kernel",
            "sign": "string: excitatory, inhibitory or mixed, by Model.signCutoffs",
            "importance": "float: cached score of `overall` towards Model.importanceOutput",
            "score": "float: score of the active query",
        },
    ),
    RelationshipType(
        "SCORED",
        "Query",
        "Filter",
        "The scores of a query, one relationship for every filter.",
        {
            "score": "float: the filter's score, raw and signed",
            "kernelScores": "list of floats: element i is the score of the incoming kernel with input = i",
        },
    ),
    RelationshipType(
        "INCLUDES",
        "Circuit",
        "Filter",
        "A filter of a circuit.",
        {"kernelInputs": "list of integers: inputs of the kernels that the circuit keeps into this filter"},
    ),
    RelationshipType(
        "PLACES",
        "Projection",
        "Filter",
        "Where a projection puts a filter.",
        {"u": "float", "v": "float"},
    ),
)


def as_markdown() -> str:
    """The page `docs/schema.md`."""
    lines = ["# The graph", "", "Made from `viscnn/schema.py` by `python -m viscnn.schema`; do not edit.", ""]
    for node in NODES:
        lines += [f"## `(:{node.label})`", "", f"{node.meaning} Unique: `{node.key}`.", ""]
        lines += _table(node.properties)
    for edge in RELATIONSHIPS:
        lines += [f"## `(:{edge.source})-[:{edge.name}]->(:{edge.target})`", "", edge.meaning, ""]
        lines += _table(edge.properties) if edge.properties else []
    return "\n".join(lines).rstrip() + "\n"


def _table(properties: dict[str, str]) -> list[str]:
    rows = [f"| `{name}` | {meaning.replace('|', chr(92) + '|')} |" for name, meaning in properties.items()]
    return ["| property | type and meaning |", "| --- | --- |", *rows, ""]


if __name__ == "__main__":
    print(as_markdown(), end="")
