"""A stored circuit as masks: what a visualisation of the masked network keeps.

As in verification (engine/verify.py) kernels on no path to the circuit's target stay; removed kernels contribute
nothing (zero ablation, as in an extracted network: an image that does not exist yet has no maps to exchange), and
biases stay.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from viscnn.engine.bundle import Bundle
from viscnn.engine.output import parse_output
from viscnn.engine.target import resolve
from viscnn.engine.visualize.network import Masks
from viscnn.engine.visualize.objectives import EdgeMap, Objective
from viscnn.engine.wiring import upstream_of
from viscnn.errors import InputError, NotInGraph, StoredDataError
from viscnn.graph import Graph

__all__ = ["MaskedBy", "stored_circuit"]


@dataclass(frozen=True)
class MaskedBy:
    """A stored circuit.

    Attributes:
        masks: by layer (filters, inputs per group) which kernels run: the circuit's, and those never in question.
        kept: by layer (filters, inputs per group) which kernels, or addends, belong to the circuit.
        digest: of the masks.
    """

    uid: str
    masks: Masks = field(repr=False)
    kept: Masks = field(repr=False)
    digest: str

    def check(self, objective: Objective) -> None:
        """That the circuit has what an objective reads.

        Raises:
            InputError: a filter or kernel that is not in the circuit.
        """
        for part in objective.parts:
            for layer, channel in part.reached:
                inputs = self.kept[layer][channel]
                if not (inputs[part.input] if isinstance(part, EdgeMap) else inputs.any()):
                    what = objective.text if len(objective.terms) == 1 else f"filter {channel} of layer {layer}"
                    raise InputError(f"{what} is not in circuit {self.uid}: all that leads into it is removed")


def stored_circuit(graph: Graph, bundle: Bundle, uid: str) -> MaskedBy:
    """Read a circuit of the bundle's model.

    Raises:
        NotInGraph: no such circuit, or it is one of another model.
        StoredDataError: it names filters or kernels that the model has not.
    """
    found = graph.read("read/circuit", uid=uid)
    if not found or found[0]["circuit"]["model"] != bundle.name:
        listed = f"list them with: viscnn circuits --model {bundle.name}"
        raise NotInGraph(f"no circuit {uid!r} of model {bundle.name!r} is stored ({listed})")
    architecture = bundle.architecture
    kept = {layer.name: np.zeros((layer.filters, layer.inputs), dtype=np.bool_) for layer in architecture.layers}
    for filter_uid, inputs in _rows(graph, uid):
        layer, _, channel = filter_uid.removeprefix(f"{bundle.name}/").rpartition("/")
        try:
            kept[layer][int(channel), inputs] = True
        except (KeyError, IndexError, ValueError) as error:
            raise StoredDataError(f"circuit {uid} holds {filter_uid}, which the model has not") from error
    output = parse_output(found[0]["circuit"]["target"])
    target = resolve(output, model=bundle.name, architecture=architecture, classes=bundle.classes)
    in_question = upstream_of(architecture, target)
    masks = {layer.name: kept[layer.name] | ~may for layer, may in zip(architecture.layers, in_question, strict=True)}
    digest = hashlib.sha256(b"".join(np.packbits(masks[each.name]).tobytes() for each in architecture.layers))
    return MaskedBy(uid, masks, kept, digest.hexdigest())


def _rows(graph: Graph, uid: str) -> Iterable[tuple[str, list[int]]]:
    """Filters of a circuit and the inputs that it keeps into them; identities with the kernels."""
    return [(row["target"], row["inputs"]) for row in graph.read("read/circuit_inputs", uid=uid)]
