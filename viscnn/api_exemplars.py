"""The part of the API about exemplars: the images, and patches of them, that a filter responds to most and least."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from viscnn.errors import ImagesError, InputError
from viscnn.graph_exemplars import excited_filters, exemplars
from viscnn.progress import Progress, silent
from viscnn.session import Session

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from viscnn.engine.exemplars import ExemplarReport

__all__ = ["Exemplars"]


class Exemplars(Session):
    """Methods of `VISCNN` about exemplars."""

    def find_exemplars(
        self,
        model: str,
        *,
        count: int = 9,
        input: str = "overall",  # noqa: A002 - the name that a query has it by
        max_images: int = 0,
        images: str | None = None,
        workers: int | None = None,
        progress: Progress = silent,
    ) -> "ExemplarReport":
        """Find the exemplars of every filter in one pass over the images, and store them in place of earlier ones.

        Args:
            count: so many images of largest, and so many of smallest pre-activation, 1 to 100.
            input: the images of all sets and images that this expression names, of both parts.
            max_images: at most so many images of each set, the same ones each time; 0 for all.
            images: an image source instead of the registered one.
            workers: processes that decode images; by default none for few images.

        Raises:
            InputError, ExpressionError, ImagesError, NotInGraph: nothing was changed.
            StoredDataError: the maps of no image are finite, or another run stores exemplars of this model.
        """
        from viscnn.engine.exemplars import find_exemplars
        from viscnn.engine.scoring import Running

        bundle = self.bundle(model, images=images)
        running = Running(progress=progress, workers=workers)
        return find_exemplars(self._graph, bundle, count=count, input=input, max_images=max_images, running=running)

    def exemplars(self, uid: str) -> list[dict[str, Any]]:
        """The exemplars of a filter: rank, activation, row, column; path, label, hash and uid (`image`) of the image.

        The top ones (rank 0 is the best) come first, then the bottom ones (rank -1 is the lowest).

        Raises:
            NotInGraph: no such filter, or no exemplars of its model are stored; the message names the command.
        """
        return exemplars(self._graph, uid)

    def excited_filters(self, model: str, path: str, *, limit: int = 1000) -> list[dict[str, Any]]:
        """The filters that have an image among their exemplars, top ranks first; none if it is nobody's exemplar.

        Raises:
            NotInGraph: no exemplars of the model are stored.
        """
        return excited_filters(self._graph, self.model(model)["name"], path, limit=limit)

    def exemplar_patch(self, uid: str, rank: int, *, images: str | None = None) -> "NDArray[np.uint8]":
        """What a filter sees where an exemplar excites it: (rows, columns) or (rows, columns, 3).

        The image as the model sees it before scaling, cropped to the unit's receptive field; grey stands for padding.
        All patches of a filter have one size (see `viscnn.engine.patches`).

        Args:
            images: the image source that the exemplars were found in, where it was not the registered one.

        Raises:
            NotInGraph: as `exemplars`, or the model is not registered on this machine.
            InputError: the filter has no exemplar of this rank.
            ImagesError: the image cannot be had, or it is no longer the one that was looked at.
        """
        ranks = [each["rank"] for each in exemplars(self._graph, uid)]
        if rank not in ranks:
            raise InputError(
                f"filter {uid} has no exemplar of rank {rank}; its ranks are 0 to {max(ranks)} and -1 to {min(ranks)}"
            )
        found, missing = self.exemplar_patches(uid, ranks=[rank], images=images)
        if missing:
            raise missing[rank]
        return found[rank]

    def exemplar_patches(
        self, uid: str, *, ranks: Collection[int] | None = None, images: str | None = None
    ) -> "tuple[dict[int, NDArray[np.uint8]], dict[int, ImagesError]]":
        """The patches of many exemplars of a filter, of all without `ranks`; see `exemplar_patch`.

        Returns:
            The patches by rank, and by rank why others cannot be had.

        Raises:
            NotInGraph: as `exemplar_patch`.
            ImagesError: the model has no images on this machine.
        """
        from viscnn.engine.patches import exemplar_patches

        found = [each for each in exemplars(self._graph, uid) if ranks is None or each["rank"] in ranks]
        return exemplar_patches(self.bundle(uid.partition("/")[0], images=images), uid, found)
