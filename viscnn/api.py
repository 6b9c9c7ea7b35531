"""The public API: every action of the page and every command is one method of `VISCNN`.

    from viscnn import VISCNN

    with VISCNN() as v:
        v.ingest("mnist")
        report = v.query("three - overall", model="mnist")
        circuit = v.circuit("filter:mnist/conv4/7", model="mnist", input="three", keep=0.1)

Without a connection it talks to the Neo4j that NEO4J_URI names, else to the managed server (`viscnn server start`).
"""

import dataclasses
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from viscnn import adhoc
from viscnn.errors import ImagesError, InputError, NotInGraph
from viscnn.graph import Table
from viscnn.queries import catalogue, load
from viscnn.session import Session, absolute

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from viscnn.engine.bundle import Bundle
    from viscnn.engine.circuit import CircuitReport
    from viscnn.engine.replay import ReplayReport
    from viscnn.engine.run import QueryReport
    from viscnn.ingest.load import LoadReport
    from viscnn.subgraph import Subgraph

__all__ = ["VISCNN", "Progress"]

Progress = Callable[[str, int, int], None]


def _silent(step: str, done: int, total: int) -> None:
    pass


class VISCNN(Session):
    """A session with one graph database; a context manager.

    Raises:
        ConnectionFailed: no Neo4j answers, or it refuses the password.
    """

    # -- models ----------------------------------------------------------------------------------------------------

    def ingest(
        self,
        source: str,
        *,
        name: str | None = None,
        weights: str | None = None,
        input_shape: tuple[int, int, int] | None = None,
        classes: tuple[str, ...] | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        images: str | None = None,
        replace: bool = False,
        importance: bool = True,
        progress: Progress = _silent,
    ) -> "LoadReport":
        """Write a model into the graph and register it on this machine.

        Args:
            source: a zoo name, or `path/to/file.py:function`.
            name: name in the graph; by default the zoo name or the function's name.
            weights: a `.safetensors`, `.npz` or `.pt` file, or `random`.
            images: an image source (a folder, an npz file, `bundled:mnist`); the bundled models have their own.
            replace: store it anew even if it is there, or if the name is taken.
            importance: with images, compute the cached `importance` (the query `overall`).

        Raises:
            ModelError, UnsupportedModel, ImagesError: nothing was changed.
        """
        from viscnn.ingest.architecture import read_architecture
        from viscnn.ingest.load import load_model
        from viscnn.ingest.registry import Entry, register
        from viscnn.ingest.zoo import Recipe, build, model_name

        file = absolute(weights) if weights and weights != "random" else weights
        path = absolute(source) if ".py" in source else source  # a zoo name, whatever folder is called like it
        recipe = Recipe(path, file, input_shape, classes, mean, std)
        name = name or model_name(source)
        zoo = build(recipe)
        architecture = read_architecture(zoo.module, zoo.input_shape)
        given = absolute(images) if images else self._registered_images(name, zoo.weights_hash, replace)
        named, notes = self._image_source(given, zoo.images)
        report = load_model(self._graph, name, zoo, architecture, replace=replace, progress=progress)
        register(name, Entry(recipe, zoo.weights_hash, named or zoo.images))
        if named is not None and (images or not self._has_images(name, importance)):
            notes += self._save_images(name, importance, progress)
        return dataclasses.replace(report, notes=notes)

    def _registered_images(self, name: str, weights_hash: str, replace: bool) -> str | None:
        """The images that a model was ingested with: the same ingest without --images does not forget them."""
        from viscnn.ingest.registry import registered

        try:
            return None if replace else registered(name, weights_hash).images
        except NotInGraph:
            return None

    def _has_images(self, name: str, importance: bool) -> bool:
        scored = not importance or self.model(name)["importanceQuery"] is not None
        return scored and bool(self._graph.read("read/image_sets", model=name))

    def _image_source(self, given: str | None, default: str | None) -> tuple[str | None, tuple[str, ...]]:
        """The image source to use, opened once before anything is stored; a default that cannot be had is a note."""
        from viscnn.engine.sources import open_source

        if given and given != default:
            open_source(given)
            return given, ()
        try:
            if default:
                open_source(default)
        except ImagesError as error:
            return None, (f"the model is stored without images: {error}",)
        return default, ()

    def _save_images(self, name: str, importance: bool, progress: Progress) -> tuple[str, ...]:
        """Store the image sets, and with `importance` the scores of `overall`; returns what should be said."""
        from viscnn.engine.images import images_hash, skipped_note

        collection = self.bundle(name).collection
        rows = [
            {
                "name": each,
                "images": len(collection.sets[each]),
                "hash": images_hash([collection.items[index] for index in collection.sets[each]]),
            }
            for each in collection.names()
        ]
        self._graph.write("write/save_image_sets", model=name, rows=rows)
        if importance:
            return self.query("overall", model=name, progress=progress).warnings
        return skipped_note(collection)

    def drop(self, name: str) -> None:
        """Remove a model and everything that belongs to it, and forget how it is built."""
        from viscnn.ingest.load import drop_model
        from viscnn.ingest.registry import forget

        drop_model(self._graph, name)
        forget(name)

    def replay(self, model: str, *, images: int = 4) -> "ReplayReport":
        """Rebuild the forward pass from what Neo4j holds and compare it with the model, on images or noise."""
        import torch

        from viscnn.engine.replay import replay
        from viscnn.engine.scoring import image_batches

        bundle = self.bundle(model)
        if bundle.images is None:
            noise = torch.randn(images, *bundle.architecture.input_shape, generator=torch.Generator().manual_seed(0))
            return replay(self._graph, bundle, noise)
        batch, _ = next(image_batches(bundle, bundle.collection.select("overall", "check", images), []))
        return replay(self._graph, bundle, batch)

    # -- queries ---------------------------------------------------------------------------------------------------

    def query(
        self,
        text: str,
        *,
        model: str,
        output: str | None = None,
        criterion: str = "taylor",
        max_images: int = 500,
        images: str | None = None,
        activate: bool = True,
        progress: Progress = _silent,
    ) -> "QueryReport":
        """Score all filters and kernels for an input expression, store the scores, and activate them.

        Args:
            text: input expression, such as `three - overall` or `0.5*(cat + dog) - "2" * photo.png`.
            output: `loss` (default), `class:NAME`, `filter:UID`, `layer:NAME`.
            criterion: `taylor`, `taylor-signed`, `activation`, `gradient` or `weight`.
            max_images: at most so many images of each image set, the same ones each time; 0 for all.
            images: an image source instead of the registered one.

        Raises:
            ExpressionError, ImagesError, NotInGraph: nothing was changed.
        """
        from viscnn.engine.run import QuerySpec, run_query

        spec = QuerySpec(input=text, output=output, criterion=criterion, max_images=max_images)
        return run_query(self._graph, self.bundle(model, images=images), spec, activate=activate, progress=progress)

    def queries(self, model: str) -> list[dict[str, Any]]:
        """The saved queries of a model, newest first."""
        return self._graph.read("read/queries", model=self.model(model)["name"])

    def activate(self, uid: str) -> dict[str, Any]:
        """Copy a saved query's scores to `score`; returns how many filters and kernels were set."""
        from viscnn.engine.circuit import require_query

        model = require_query(self._graph, uid)["model"]
        return self._graph.write("write/activate_query", model=model, uid=uid)[0]

    def drop_query(self, uid: str) -> None:
        """Remove a saved query with its scores and circuits."""
        if not self._graph.write("write/drop_query", uid=uid):
            raise NotInGraph(f"no query {uid!r} is stored (list them with: viscnn queries --model MODEL)")

    def subgraph(self, uid: str, *, keep: float = 0.1, scale: str = "sum", limit: int = 20_000) -> "Subgraph":
        """The share `keep` of all kernels with the highest scaled scores in a saved query, pulled by Cypher."""
        from viscnn.subgraph import pull

        return pull(self._graph, uid, keep=keep, scale=scale, limit=limit)

    # -- circuits --------------------------------------------------------------------------------------------------

    def circuit(
        self,
        target: str,
        *,
        model: str,
        input: str = "overall",  # noqa: A002 - the name that a query has it by
        keep: float = 0.1,
        criterion: str = "taylor",
        scale: str | None = None,
        excitatory: bool = False,
        ablation: str = "zero",
        max_images: int = 500,
        check_images: int = 200,
        images: str | None = None,
        progress: Progress = _silent,
    ) -> "CircuitReport":
        """Extract a connected circuit that reaches `target`, verify it on check images, store and return it.

        Args:
            target: a filter's uid, or an output such as `class:NAME` or `loss`.
            input: input expression of the query whose scores select the kernels; scored now if it is not stored.
            keep: share of the kernels upstream of the target, in (0, 1].
            scale: `sum`, `layer-l2` or `raw`: how layers are made comparable.
            ablation: what removed kernels read when verifying: `zero`, `mean` or `resample`.
            check_images: at most so many check images; 0 for all.
        """
        from viscnn.engine.circuit import DEFAULT_SCALE, CircuitSpec, run_circuit
        from viscnn.engine.run import QuerySpec
        from viscnn.engine.verify import VerifySpec

        checking = VerifySpec(ablation=ablation, max_images=check_images)
        spec = CircuitSpec(keep=keep, scale=scale or DEFAULT_SCALE, excitatory=excitatory, verify=checking)
        asked = QuerySpec(input=input, output=_as_output(target), criterion=criterion, max_images=max_images)
        return run_circuit(self._graph, self.bundle(model, images=images), asked, spec, progress=progress)

    def circuits(self, model: str) -> list[dict[str, Any]]:
        """The stored circuits of a model with their evidence, newest first."""
        return self._graph.read("read/circuits", model=self.model(model)["name"])

    def circuit_subgraph(self, uid: str) -> "Subgraph":
        """The kernels of a stored circuit with the scores of the query that chose them."""
        from viscnn.subgraph import of_circuit

        return of_circuit(self._graph, uid)

    # -- filters and images ----------------------------------------------------------------------------------------

    def filter(self, uid: str, *, query: str | None = None) -> dict[str, Any]:
        """One filter with its layer and its score under a saved query (the active one); raises NotInGraph."""
        found = self._graph.read("read/filter", uid=uid, query=self._query_for(uid, query))
        if not found:
            raise NotInGraph(f"there is no filter {uid!r} in the graph (uids look like mnist/conv2/5)")
        self.model(found[0]["model"])
        return found[0]

    def _query_for(self, uid: str, query: str | None) -> str:
        """The saved query that is named, else the active one of the filter's model, else an empty text."""
        if query is not None:
            from viscnn.engine.circuit import require_query

            return str(require_query(self._graph, query)["uid"])
        found = self._graph.read("read/model", model=uid.partition("/")[0])
        return str(found[0]["activeQuery"] or "") if found else ""

    def incoming_kernels(self, uid: str, *, query: str | None = None, limit: int = 10) -> list[dict[str, Any]]:
        """The kernels into a filter with their weights, by the scores of a saved query (the active one), else by l1."""
        asked = self._query_for(uid, query)
        return self._graph.read("read/incoming_kernels", uid=uid, query=asked, limit=limit)

    def image_sets(self, model: str) -> list[dict[str, Any]]:
        """The stored image sets of a model, `overall` first."""
        return self._graph.read("read/image_sets", model=self.model(model)["name"])

    def image_paths(self, model: str, image_set: str = "overall", *, limit: int = 50) -> list[str]:
        """Paths of some images of a set, the same ones each time."""
        collection = self.bundle(model).collection
        return [collection.items[index].path for index in collection.select(image_set, None, limit)]

    def image(self, model: str, path: str) -> "NDArray[np.uint8]":
        """An image as the model sees it before scaling, (rows, columns) or (rows, columns, 3)."""
        import numpy as np

        bundle = self.bundle(model)
        return np.asarray(bundle.preprocess.crop(bundle.collection.read(self._image_index(bundle, path))))

    def activation(self, uid: str, path: str) -> "NDArray[np.float32]":
        """The pre-activation map Z (rows, columns) of a filter on one image of the model's source."""
        from viscnn.engine.capture import record
        from viscnn.engine.output import FilterOutput
        from viscnn.engine.target import resolve

        bundle = self.bundle(uid.partition("/")[0])
        output = FilterOutput(uid, "mean")
        target = resolve(output, model=bundle.name, architecture=bundle.architecture, classes=bundle.classes)
        assert target.layer is not None
        image = bundle.preprocess.apply(bundle.collection.read(self._image_index(bundle, path)))
        recording = record(bundle.architecture, image.unsqueeze(0), last=target.layer, gradients=False)
        return recording.maps[target.layer.name][0, target.channel].numpy()

    def _image_index(self, bundle: "Bundle", path: str) -> int:
        return bundle.collection.select(path, None, 1)[0]

    # -- Cypher ----------------------------------------------------------------------------------------------------

    def cypher(
        self, name: str, parameters: dict[str, Any] | None = None, *, limit: int = 1000, timeout: float = 20.0
    ) -> Table:
        """Run a read query of the catalogue; `limit` rows at most, `timeout` in seconds.

        Raises:
            NotInGraph: no such query, or no such parameter.
            InputError: it is a query that writes; those are run by the methods above.
        """
        query = load(name)
        if query.mode != "read":
            raise InputError(f"query {query.name} writes; only read queries can be run by name")
        return adhoc.run(self._graph, query.text, query.arguments(parameters or {}), limit=limit, timeout=timeout)

    def cypher_text(
        self, text: str, parameters: dict[str, Any] | None = None, *, limit: int = 1000, timeout: float = 20.0
    ) -> Table:
        """Run ad-hoc Cypher after the guard has let it pass: one plain read. Raises CypherRefused."""
        return adhoc.run(self._graph, text, parameters, limit=limit, timeout=timeout)

    @staticmethod
    def cypher_catalogue() -> list[dict[str, Any]]:
        """Name, title, description, mode, parameters and columns of every query file."""
        return [
            {
                "name": query.name,
                "title": query.title,
                "description": query.description,
                "mode": query.mode,
                "parameters": {each.name: json.dumps(each.default) for each in query.parameters},
                "columns": list(query.columns),
            }
            for query in catalogue().values()
        ]


def _as_output(target: str) -> str:
    """A bare filter uid as an output expression."""
    return f"filter:{target}" if "/" in target and ":" not in target.partition("/")[0] else target
