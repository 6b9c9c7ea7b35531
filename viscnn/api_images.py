"""The part of the API about image sets of one's own, and about what an input expression can name."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from viscnn.errors import ImagesError, NotInGraph, nearest
from viscnn.session import Session

if TYPE_CHECKING:
    from viscnn.engine.images import ImageCollection, Part

__all__ = ["ImageSets"]

_PARTS: "tuple[Part, Part]" = ("score", "check")


class ImageSets(Session):
    """Methods of `VISCNN` about image sets."""

    # -- image sets of one's own -----------------------------------------------------------------------------------

    def save_image_set(self, model: str, name: str, paths: Sequence[str]) -> dict[str, Any]:
        """Store some images of a model's image source as an image set, to be used like any other.

        Args:
            name: any text that means nothing yet: no image set, class or image.
            paths: of images, or their file names; only compared with those of the source, never opened.

        Returns:
            `name`; `images`; `hash`, SHA-256 over the images' hashes; `scoreImages` and `checkImages`, how many are in
            the part that queries read and in the one that circuits are verified on; and `notes`.

        Raises:
            NotInGraph: no such model.
            ImagesError: the model has no images, or the name is taken, or there are no images in it.
            ExpressionError: no such image; the nearest are suggested.
        """
        collection = self.collection(model)
        made = collection.own_set(name, paths)
        properties = {"name": made.name, "hash": made.images_hash, "paths": list(made.paths)}
        if not self._graph.write("write/save_own_image_set", model=model, **properties)[0]["written"]:
            self.model(model)
            raise ImagesError(
                f"model {model!r} has your image set {made.name!r} already; delete it, or choose another name"
            )
        members = collection.with_sets([made])
        score, check = (len(members.select(made.name, part)) for part in _PARTS)
        notes = [] if score else [f"queries cannot read {made.name!r}: all its images are in the check part"]
        found = {"name": made.name, "images": len(made.paths), "hash": made.images_hash}
        return {**found, "scoreImages": score, "checkImages": check, "notes": notes}

    def drop_image_set(self, model: str, name: str) -> None:
        """Remove an image set of one's own; queries that were asked of it stay.

        Raises:
            NotInGraph: the model has none of this name.
        """
        from viscnn.engine.names import composed

        self.model(model)
        wanted = composed(name).strip()
        if self._graph.write("write/drop_own_image_set", model=model, name=wanted)[0]["dropped"]:
            return
        own = [str(row["name"]) for row in self._graph.read("read/own_image_sets", model=model, paths=False)]
        known = f"{nearest(name, own)} (it has: {', '.join(own)})" if own else "; it has none"
        raise NotInGraph(f"model {model!r} has no image set of your own called {name!r}{known}")

    # -- what expressions name -------------------------------------------------------------------------------------

    def input_names(self, model: str, *, most: int = 5000) -> list[dict[str, str]]:
        """What an input expression can name, for a field that completes it.

        Args:
            most: where there would be more names, only the sets are given.

        Returns:
            `text`, as it is written in an expression (quoted where it must be), and `kind`: `set`, `own`, `class`
            (another name of a set) or `image`. Of a model whose images are not on this machine: its stored sets.
        """
        stored = self._graph.read("read/image_sets", model=self.model(model)["name"])
        names = [_named(each, "own" if own else "set") for each, own in {r["name"]: r["own"] for r in stored}.items()]
        images = next((int(row["images"]) for row in stored if row["name"] == "overall"), 0)
        if not 0 < images <= most - len(names):
            return names  # a large source is not looked through for this
        try:
            collection = self.collection(model)
        except (ImagesError, NotInGraph):
            return names
        further = [_named(name, "class") for name in _classes(collection, self.model(model)["classes"] or ())]
        further += [_named(item.path, "image") for item in collection.items]
        return names + (further if len(names) + len(further) <= most else [])


def _classes(collection: "ImageCollection", classes: Sequence[str]) -> list[str]:
    """The classes that mean an image set of another name."""
    sets = set(collection.names())
    return [name for name in dict.fromkeys(classes) if name not in sets and collection.is_set(name)]


def _named(name: str, kind: str) -> dict[str, str]:
    from viscnn.engine.expression import Expression

    return {"text": str(Expression(((1.0, name),))), "kind": kind}
