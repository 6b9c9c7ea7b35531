"""The part of the API that looks at single filters, kernels and images."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from viscnn.errors import NotInGraph
from viscnn.session import Session

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from viscnn.engine.one_image import KernelMaps, Picture, Response
    from viscnn.engine.receptive import LayerFields, ReceptiveField, ReceptiveFields

__all__ = ["MOST_FIELDS", "Filters"]

MOST_FIELDS = 8
"""Models whose receptive fields a session keeps."""


class Filters(Session):
    """Methods of `VISCNN` about filters, kernels and images."""

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
        """The kernels into a filter with their weights, by the scores of a saved query (the active one), else by l1.

        Of a signed criterion the size of a score counts.
        """
        asked = self._query_for(uid, query)
        return self._graph.read("read/incoming_kernels", uid=uid, query=asked, limit=limit)

    def outgoing_kernels(self, uid: str, *, query: str | None = None, limit: int = 10) -> list[dict[str, Any]]:
        """The kernels from a filter with their weights, by the scores of a saved query (the active one), else by l1.

        Of a signed criterion the size of a score counts.
        """
        asked = self._query_for(uid, query)
        return self._graph.read("read/outgoing_kernels", uid=uid, query=asked, limit=limit)

    def filter_scores(self, uid: str) -> list[dict[str, Any]]:
        """A filter's score and rank in its layer (of signed criteria by size) under every saved query, newest first."""
        return self._graph.read("read/filter_scores", uid=uid)

    def class_profile(self, uid: str) -> dict[str, Any] | None:
        """A filter's class profile with the names of the classes; None where the model has none (yet)."""
        found = self._graph.read("read/filter_profile", uid=uid)
        return found[0] if found else None

    def similar_filters(self, uid: str, *, limit: int = 10) -> list[dict[str, Any]]:
        """Filters of the same model whose class profile is most like this one's; none without class profiles."""
        return self._graph.read("read/filters_like", uid=uid, limit=limit)

    def image_sets(self, model: str) -> list[dict[str, Any]]:
        """The stored image sets of a model, `overall` first."""
        return self._graph.read("read/image_sets", model=self.model(model)["name"])

    def image_paths(self, model: str, image_set: str = "overall", *, limit: int = 50) -> list[str]:
        """Paths of some images of a set, the same ones each time."""
        collection = self.bundle(model).collection
        return [collection.items[index].path for index in collection.select(image_set, None, limit)]

    def image(self, model: str, image: "Picture") -> "NDArray[np.uint8]":
        """An image as the model sees it before scaling, (rows, columns) or (rows, columns, 3).

        Args:
            image: a path of the model's image source, a PIL picture, pixels of that shape, or a `Visualization`.
        """
        from viscnn.engine.one_image import pixels

        found = pixels(self.bundle(model), image)
        return found[..., 0] if found.shape[2] == 1 else found

    @staticmethod
    def decoded(file: BinaryIO, name: str) -> "Image":
        """The picture in a file of any common kind, for the methods that take one; raises ImagesError with `name`."""
        from viscnn.engine.decode import decode

        return decode(file, name)

    def activation(self, uid: str, image: "Picture") -> "NDArray[np.float32]":
        """The pre-activation map Z (rows, columns) of a filter on an image: a path of the model's source, or pixels."""
        from viscnn.engine.one_image import activation_map, opened

        bundle = self.bundle(uid.partition("/")[0])
        return activation_map(bundle, uid, opened(bundle, image))

    def kernel_maps(self, kernels: Sequence[tuple[str, str]], image: "Picture") -> "list[KernelMaps]":
        """What each kernel (source, target) of a model reads on an image, and its edge map; raises NotInGraph."""
        from viscnn.engine.one_image import kernel_maps, opened

        if not kernels:
            return []
        bundle = self.bundle(kernels[0][1].partition("/")[0])
        return kernel_maps(bundle, kernels, opened(bundle, image))

    def intervene(
        self,
        model: str,
        image: "Picture",
        factors: Mapping[str, float],
        *,
        output: str | None = None,
        label: int | None = None,
        watch: Sequence[str] = (),
    ) -> "Response":
        """Run an image with some maps scaled or ablated; nothing is stored (see `engine.one_image.intervened`).

        Args:
            factors: by uid of a filter, or `SOURCE -> TARGET` of a kernel; 0 ablates.
            output: what T is: `loss` (default), `class:NAME`, `filter:UID`...
            label: number of the image's class, for the loss; by default that of an image of the model's source, and of
                other pictures, and where the model has no such class, what the unchanged model predicts.
            watch: uids of filters whose maps are returned.
        """
        from viscnn.engine.one_image import intervened, label_of, opened

        bundle = self.bundle(model)
        known = label_of(bundle, image) if label is None else label
        return intervened(bundle, opened(bundle, image), factors, output=output, label=known, watch=watch)

    # -- receptive fields ------------------------------------------------------------------------------------------

    def receptive_field(self, uid: str, position: tuple[int, int], *, layer: str = "input") -> "ReceptiveField":
        """What can influence a filter at a position, exactly; worked out from the graph alone.

        Args:
            uid: of a filter.
            position: (row, column) on its map.
            layer: the receptive field in the maps of this layer; in the image by default.

        Raises:
            NotInGraph: there is no such filter or layer.
            InputError: the position lies outside the map, or the filter does not depend on `layer`.
        """
        found = self._graph.read("read/filter", uid=uid, query="")
        if not found:
            raise NotInGraph(f"there is no filter {uid!r} in the graph (uids look like mnist/conv2/5)")
        fields = self._receptive_fields(found[0]["model"])
        towards = layer.removeprefix(f"{found[0]['model']}/")
        return fields.unit(found[0]["layer"], found[0]["channel"], position, towards=towards)

    def receptive_fields(
        self, model: str, layer: str, *, channel: int | None = None, towards: str = "input"
    ) -> "LayerFields":
        """The boxes of all units of a layer (of one filter, or those that hold every filter's), as arrays."""
        return self._receptive_fields(model).layer(layer, channel=channel, towards=towards)

    def _receptive_fields(self, model: str) -> "ReceptiveFields":
        """Those of a model, which are worked out once; of the models that were looked at last a few are kept."""
        from viscnn.engine.receptive import ReceptiveFields
        from viscnn.engine.stored import stored_structure

        stored = self.model(model)
        key = (stored["name"], stored["weightsHash"], stored["createdAt"])
        with self._lock("fields", ""):
            if key not in self._fields:
                self._fields[key] = ReceptiveFields(stored_structure(self._graph, stored["name"]))
            self._fields.move_to_end(key)
            while len(self._fields) > MOST_FIELDS:
                self._fields.popitem(last=False)
            return self._fields[key]
