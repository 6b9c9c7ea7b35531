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
from typing import TYPE_CHECKING, Any, cast

from viscnn import adhoc
from viscnn.api_diagram import Diagrams
from viscnn.api_exemplars import Exemplars
from viscnn.api_filters import Filters
from viscnn.api_images import ImageSets
from viscnn.api_scores import Scores
from viscnn.api_visualize import Visualizations
from viscnn.errors import ImagesError, InputError, NotInGraph, StoredDataError
from viscnn.graph import Table
from viscnn.progress import Progress, silent
from viscnn.queries import catalogue, load
from viscnn.session import absolute

if TYPE_CHECKING:
    from viscnn.engine.replay import ReplayReport
    from viscnn.ingest.kernels import Extent
    from viscnn.ingest.load import LoadReport
    from viscnn.ingest.zoo import Recipe

__all__ = ["VISCNN", "Progress"]


class VISCNN(Scores, Filters, ImageSets, Diagrams, Exemplars, Visualizations):
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
        heads: bool = False,
        kernel_weights: bool = True,
        kernels_above: float | None = None,
        top_kernels: int | None = None,
        confirm: Callable[[int], bool] | None = None,
        bulk: bool = False,
        advise: Callable[[str], None] = lambda line: None,
        progress: Progress = silent,
    ) -> "LoadReport":
        """Write a model into the graph and register it on this machine.

        Args:
            source: a zoo name, or `path/to/file.py:function`.
            name: name in the graph; by default the zoo name or the function's name.
            weights: a `.safetensors`, `.npz` or `.pt` file, or `random`.
            images: an image source (a folder, an npz file, `bundled:mnist`); the bundled models have their own.
            replace: store it anew even if it is there, or if the name is taken.
            importance: with images, compute the cached `importance` (the query `overall`).
            heads: also the linear layers behind flattened maps; the logits are filters, linked to their classes.
            kernel_weights: store the weights of each kernel; without them the graph alone cannot be replayed.
            kernels_above: only kernels with l1 above this.
            top_kernels: only so many kernels of largest l1 (not with `kernels_above`).
            confirm: with `heads`, asked whether to store so many kernels; by default up to 5,000,000.
            bulk: by Neo4j's offline import, faster for large models, into the managed server's empty database.
            advise: told that `bulk` would be much faster, or that another ingest is waited for.

        Raises: ModelError, UnsupportedModel, ImagesError; nothing was changed.
        """
        from viscnn.ingest.kernels import Extent
        from viscnn.ingest.zoo import Recipe, model_name

        file = absolute(weights) if weights and weights != "random" else weights
        path = absolute(source) if ".py" in source else source  # a zoo name, whatever folder is called like it
        recipe = Recipe(path, file, input_shape, classes, mean, std, heads)
        how = {"replace": replace, "confirm": confirm, "bulk": bulk, "advise": advise, "progress": progress}
        extent = Extent(kernel_weights, kernels_above, top_kernels)
        return self._ingest(name or model_name(source), recipe, extent, images, importance, **cast(Any, how))

    def _ingest(
        self,
        name: str,
        recipe: "Recipe",
        extent: "Extent",
        images: str | None,
        importance: bool,
        *,
        replace: bool,
        confirm: Callable[[int], bool] | None,
        bulk: bool,
        advise: Callable[[str], None],
        progress: Progress,
    ) -> "LoadReport":
        from viscnn.ingest.bulk import load as load_model
        from viscnn.ingest.contents import contents_of
        from viscnn.ingest.load import few_kernels
        from viscnn.ingest.registry import Entry, register

        contents = contents_of(name, recipe, extent)
        zoo = contents.zoo
        given = absolute(images) if images else self._registered_images(name, zoo.weights_hash, replace)
        named, notes = self._image_source(given, zoo.images)
        how: dict[str, Any] = {"confirm": confirm or few_kernels} if recipe.heads else {}
        how |= {"replace": replace, "progress": progress}
        report = load_model(self._graph, contents, bulk=bulk, advise=advise, **how)
        register(name, Entry(recipe, zoo.weights_hash, named or zoo.images))
        if named is not None and (images or not self._has_images(name, importance)):
            notes += self._save_images(name, importance, progress)
        return dataclasses.replace(report, notes=notes)

    @staticmethod
    def zoo(source: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """Models that can be ingested by name: of `bundled`, `data`, `torchvision` or `timm`, or of all of these.

        Returns:
            `sources` with what of them is on this machine, and `models` with their names (see `ingest/zoo_list.py`).
        """
        from viscnn.ingest.zoo_list import zoo

        return zoo(source)

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
            if each not in collection.own
        ]
        self._graph.write("write/save_image_sets", model=name, rows=rows)
        if importance:
            try:
                return self.query("overall", model=name, progress=progress).warnings
            except StoredDataError as error:
                return (f"the model is stored without importance: {error}", *skipped_note(collection))
        return skipped_note(collection)

    def drop(self, name: str, *, advise: Callable[[str], None] = lambda line: None) -> None:
        """Remove a model and everything that belongs to it, and forget how it is built.

        Args:
            advise: told in one line that an ingest of it is waited for.
        """
        from viscnn.ingest.load import drop_model
        from viscnn.ingest.registry import forget

        drop_model(self._graph, name, advise=advise)
        forget(name)

    def replay(self, model: str, *, images: int = 4, progress: Progress = silent) -> "ReplayReport":
        """Rebuild the forward pass from what Neo4j holds and compare it with the model, layer by layer.

        Args:
            images: so many check images of the model, or random ones where it has none.

        Raises:
            NotInGraph: no such model, or it is stored without weights.
            ImagesError: none of its images can be read.
            StoredDataError: layers, kernels or operations are missing or wrong.
        """
        import torch

        from viscnn.engine.replay import replay
        from viscnn.engine.streaming import image_batches

        bundle = self.bundle(model)
        if bundle.images is None:
            noise = torch.randn(images, *bundle.architecture.input_shape, generator=torch.Generator().manual_seed(0))
            report = replay(self._graph, bundle, noise, progress=progress)
            note = f"model {model!r} has no images here: compared on {images} random ones"
            return dataclasses.replace(report, notes=(*report.notes, note))
        selected = bundle.collection.select("overall", "check", images)
        batches = [batch for batch, _ in image_batches(bundle, selected, [])]
        if not batches:
            raise ImagesError(f"none of the {len(selected)} check images of model {model!r} can be read")
        return replay(self._graph, bundle, torch.cat(batches), progress=progress)

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
