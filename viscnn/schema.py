"""What the graph is made of: labels, relationship types and properties, each defined here once.

`docs/schema.md` is made from these tables (`python -m viscnn.schema > docs/schema.md`), and a test holds a real graph
against them: nothing is stored that is not declared.
"""

from dataclasses import dataclass

__all__ = ["FILTER_LABELS", "NODES", "RELATIONSHIPS", "NodeType", "RelationshipType", "as_markdown"]


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
            "heads": "boolean: the head is stored too, so that the logits are filters",
            "weights": "boolean: KERNEL.weights is stored",
            "kernelsAbove": "float: only kernels with l1 above this are stored; null when all are",
            "topKernels": "integer: only so many kernels of largest l1 are stored; null when all are",
            "kernelsLeftOut": "integer: kernels that are not stored",
            "mixesChannels": "boolean: some step between layers mixes channels (LRN, LayerNorm, gates)",
            "signCutoffs": "list of floats: signRatio below the first is inhibitory, above the second excitatory",
            "schemaVersion": "integer",
            "createdAt": "string: ISO 8601, UTC",
            "activeQuery": "string: uid of the query whose scores are in `score`; null when `score` is not valid",
            "activation": "string: random, names the activation that began last; an earlier one gives way to it",
            "importanceRun": "string: random, the same for the writing of `importance`",
            "activeProjection": "string: uid of the projection whose places are in u and v",
            "profiles": "string: hash of images and network that the class profiles are of; null while there are none",
            "profileImages": "integer: images that the class profiles are means over",
            "profilesRun": "string: random, names the writing of profiles that began last; an earlier one gives way",
            "exemplars": "string: hash of images, network and count that exemplars are of; null while there are none",
            "exemplarImages": "integer: images that the exemplars were found among",
            "exemplarsRun": "string: random, names the writing of EXCITED_BY that began last; an earlier one gives way",
        },
    ),
    NodeType(
        "Layer",
        "uid",
        "A call of a convolution or linear layer, an addition, or the input.",
        {
            "uid": "string: `model/module path`; a second call is `path#2`, a functional one `#conv2d_1`, "
            "an addition `path.add`",
            "model": "string: name of the model",
            "name": "string: module path, or `input`",
            "key": "integer: database-wide, for the index on KERNEL (layer, score)",
            "index": "integer: place in the order of execution; 0 is the input",
            "kind": "string: `input`, `convolution`, `linear` (a 1x1 convolution wherever it is applied) or `sum`",
            "depth": "integer: layers on the longest path from the input, this one included",
            "branch": "integer: number among the layers of its depth",
            "gate": "boolean: its maps reach others only as factors (squeeze-and-excite)",
            "logits": "boolean: its filters are the model's logits",
            "stride": "list of integers",
            "padding": "list of integers, or `same` / `valid`",
            "paddingMode": "string: zeros, reflect, replicate or circular",
            "dilation": "list of integers",
            "groups": "integer",
            "kernelSize": "list of integers: rows, columns",
            "inputs": "integer: kernels into each filter, stored or not; of a sum its addends",
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
        "One output channel of a layer; see the further labels below.",
        {
            "uid": "string: `model/layer/channel`; inputs `model/input/r`",
            "model": "string: name of the model",
            "layer": "string: name of the layer",
            "layerIndex": "integer: index of the layer, its place in the order of execution",
            "channel": "integer",
            "name": "string: `layer/channel`",
            "u": "float: place in the layer's disc; unit: radius of the largest layer's disc",
            "v": "float: place in the layer's disc",
            "z": "float: depth",
            "x": "float: place in the unrolled 2-D picture",
            "y": "float: place in the unrolled 2-D picture",
            "bias": "float: bias of the folded convolution; null for input channels and sums",
            "importance": "float: cached score of `overall` towards Model.importanceOutput",
            "score": "float: score of the active query",
            "classProfile": "list of floats: `taylor` score towards the loss of every class, L2-normalised (or zero)",
            "bestClass": "string: the class of the largest value in classProfile; null where it is zero",
            "classSelectivity": "float: (best - mean of the others) / (best + mean of the others) in classProfile",
        },
    ),
    NodeType(
        "Class",
        "uid",
        "What a logit stands for; stored with the head of a model.",
        {
            "uid": "string: `model/class/number`",
            "model": "string: name of the model",
            "name": "string",
            "index": "integer: number of the logit",
        },
    ),
    NodeType(
        "ImageSet",
        "uid",
        "A named set of images; `overall` is all of them.",
        {
            "uid": "string: `model/images/name`; of one that a person has made, `model/own/name`",
            "model": "string: name of the model",
            "name": "string",
            "images": "integer: number of images",
            "hash": "string: SHA-256 over the images' hashes",
            "own": "boolean: true of one that a person has made; null of those of the image source",
            "paths": "list of strings: of an own one's images; compared with those of the image source, never opened",
        },
    ),
    NodeType(
        "Image",
        "uid",
        "An image that is an exemplar of some filter.",
        {
            "uid": "string: `model/image/path`",
            "model": "string: name of the model",
            "path": "string: relative to the root of the image source, which only this machine knows",
            "label": "string: name of its class as supplied; null where it has none",
            "hash": "string: SHA-256 of the file, or of the pixels where there is no file",
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
            "scoresRun": "string: random, names the writing of SCORED that began last; an earlier one gives way to it",
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
            "targetLayers": "list of strings: names of the layers that the output names",
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
            "method": "string: kernel-pca-disc (made by ingest), or a method of `viscnn project`",
            "seed": "integer",
            "status": "string: writing or complete",
            "trustworthiness": "float: of the places, in 0..1, mean over layers weighted by filters",
            "continuity": "float: the same of neighbours among the vectors",
            "trustworthinessBefore": "float: before smoothing",
            "continuityBefore": "float: before smoothing",
            "weightedLength": "float: weighted mean squared length of the kernels in the unrolled discs",
            "weightedLengthGreedy": "float: the same after the paper's greedy rotation",
            "weightedLengthUnrotated": "float: the same without rotation",
            "weights": "string: what kernels weigh there: importance or l1",
            "notes": "list of strings: what was done otherwise than asked for",
            "seconds": "float: how long it took",
            "createdAt": "string: ISO 8601, UTC",
        },
    ),
)

FILTER_LABELS = {
    "InputChannel": "a channel of the image: r, g, b, or gray, or c0 and on",
    "Sum": "a channel of an addition; its addends are IDENTITY relationships",
    "Logit": "a logit of the model, read with its head",
}
"""Labels that a filter may have besides `Filter`, each with the same properties."""

RELATIONSHIPS = (
    RelationshipType("HAS_LAYER", "Model", "Layer", "The layers of a model.", {}),
    RelationshipType("HAS_FILTER", "Layer", "Filter", "The filters of a layer.", {}),
    RelationshipType(
        "FEEDS",
        "Layer",
        "Layer",
        "The maps of one layer reach another.",
        {
            "position": "integer: order among the feeds of the target",
            "addend": "integer: of a sum, the addend that it belongs to; else 0",
            "sourceStart": "integer: first channel of the source, after the operations",
            "targetStart": "integer: first input channel of the target (of one addend, for a sum)",
            "channels": "integer: number of channels",
            "sourceChannels": "list of integers: the channels of the source; null where they are neighbours",
            "targetChannels": "list of integers: the input channels of the target; null where they are neighbours",
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
            "weights": "list of floats: the kernel row by row; null where Model.weights is false",
            "l1": "float: sum |W|",
            "l2": "float: sqrt(sum W^2)",
            "signRatio": "float: sum W / sum |W|, in [-1, 1]; 0 for an all-zero kernel",
            "sign": "string: excitatory, inhibitory or mixed, by Model.signCutoffs",
            "importance": "float: cached score of `overall` towards Model.importanceOutput",
            "score": "float: score of the active query",
        },
    ),
    RelationshipType(
        "IDENTITY",
        "Filter",
        "Filter",
        "An addend of a sum: one map that is added as it is. It is not counted as a kernel.",
        {
            "input": "integer: number of the addend",
            "layer": "integer: `key` of the sum's layer",
            "importance": "float: cached score of `overall` towards Model.importanceOutput",
            "score": "float: score of the active query",
        },
    ),
    RelationshipType("PREDICTS", "Filter", "Class", "The class that a logit stands for.", {}),
    RelationshipType(
        "SCORED",
        "Query",
        "Filter",
        "The scores of a query, one relationship for every filter.",
        {
            "score": "float: the filter's score, raw and signed",
            "kernelScores": "list of floats: element i is the score of the incoming kernel (of a sum: identity) "
            "with input = i, whether or not that kernel is stored",
        },
    ),
    RelationshipType(
        "EXCITED_BY",
        "Filter",
        "Image",
        "An exemplar: one of the images that a filter responds to most, or least.",
        {
            "rank": "integer: 0, 1, ... for the images with the largest pre-activation, -1, -2, ... for those with the "
            "smallest, -1 being the smallest of all; of equal values the first image comes first",
            "activation": "float: the largest (smallest) pre-activation Z over the positions of its map",
            "row": "integer: where in the map that is",
            "column": "integer: where in the map that is; of equal values the first, row by row",
        },
    ),
    RelationshipType(
        "INCLUDES",
        "Circuit",
        "Filter",
        "A filter of a circuit.",
        {"kernelInputs": "list of integers: inputs of the kernels (of a sum: identities) that the circuit keeps"},
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
        if node.label == "Filter":
            lines += [f"- `:Filter:{label}` - {meaning}." for label, meaning in FILTER_LABELS.items()] + [""]
    for edge in RELATIONSHIPS:
        lines += [f"## `(:{edge.source})-[:{edge.name}]->(:{edge.target})`", "", edge.meaning, ""]
        lines += _table(edge.properties) if edge.properties else []
    return "\n".join(lines).rstrip() + "\n"


def _table(properties: dict[str, str]) -> list[str]:
    rows = [f"| `{name}` | {meaning.replace('|', chr(92) + '|')} |" for name, meaning in properties.items()]
    return ["| property | type and meaning |", "| --- | --- |", *rows, ""]


if __name__ == "__main__":
    print(as_markdown(), end="")
