"""Images with their labels, their fixed part (score or check) and their image sets.

A collection is read from a source (module `sources`); it lists and hashes everything, and decodes on demand.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol, Self

from PIL import Image

from viscnn.engine.names import Names, composed, quote, synonyms
from viscnn.errors import ExpressionError, ImagesError, nearest

__all__ = [
    "OVERALL",
    "Found",
    "ImageCollection",
    "ImageItem",
    "OwnSet",
    "Part",
    "Picture",
    "images_hash",
    "part_of",
    "skipped_note",
]

Part = Literal["score", "check"]
OVERALL = "overall"
SCORE_SHARE = 0.7
_MOST_SUGGESTED = 5000  # difflib takes a second for more names
MOST_OWN_IMAGES = 10_000
"""Of one image set of one's own: its paths are stored in the graph, in one property."""
_MOST_CHARACTERS = 200


class Picture(Protocol):
    """One image, not yet decoded: small, and picklable, so that another process can decode it."""

    def decode(self) -> Image.Image:
        """The decoded picture; raises ImagesError, which names its path."""
        ...


@dataclass(frozen=True)
class ImageItem:
    """One image, not yet decoded.

    Attributes:
        path: relative to the source's root, with `/`; `mnist/00017`, `train/00042` in archives.
        image_hash: SHA-256, in hex, of the file's bytes; of raw pixels, those of the uint8 array (H, W[, C]).
        label: name of the class as supplied, or None.
        part: `score` or `check`.
        aliases: other names of the label: a wnid, or its number in the source's own list of classes (`#134`).
    """

    path: str
    image_hash: str
    label: str | None
    part: Part
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """What a name in an input expression means: an image set, or a single image.

    Attributes:
        name: the set's name or the image's path as the collection spells it.
        indices: positions in `ImageCollection.items`.
        single: an image named by itself, which is used whatever its part.
    """

    name: str
    indices: tuple[int, ...]
    single: bool


@dataclass(frozen=True)
class OwnSet:
    """An image set that a person has made of images of a collection.

    Attributes:
        name: what expressions call it.
        paths: of its images, as the collection spells them, in its order; only compared, never opened.
        images_hash: SHA-256 over the images' hashes: other images of the same paths are another set.
    """

    name: str
    paths: tuple[str, ...]
    images_hash: str


def part_of(image_hash: str) -> Part:
    """The fixed part of an image: 70 % of all hashes are `score`, the others `check`."""
    return "score" if int(image_hash[:8], 16) < int(SCORE_SHARE * 2**32) else "check"


def images_hash(items: Iterable[ImageItem]) -> str:
    """SHA-256, in hex, of the sorted image hashes, one a line: the same for the same images in any order."""
    return hashlib.sha256("\n".join(sorted(item.image_hash for item in items)).encode()).hexdigest()


def skipped_note(collection: "ImageCollection") -> tuple[str, ...]:
    """A sentence that counts the files that are no usable images; nothing when there are none."""
    if not collection.skipped:
        return ()
    (path, reason), count = collection.skipped[0], len(collection.skipped)
    return (f"{count} files of {collection.source} are no usable images and were left out ({path}: {reason})",)


def _group(
    items: Iterable[ImageItem], classes: Iterable[tuple[str, tuple[str, ...]]]
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[str, ...]]]:
    """Image sets by label, and the aliases of each, `classes` (label and aliases) first, even where they are empty.

    Two classes of one label (ImageNet has two cranes) become two sets, `crane (n02012849)` and `crane (n03126707)`.
    """
    members: dict[tuple[str, tuple[str, ...]], list[int]] = {known: [] for known in classes}
    for index, item in enumerate(items):
        if item.label is not None:
            members.setdefault((item.label, item.aliases), []).append(index)
    namesakes: defaultdict[str, int] = defaultdict(int)
    for label, _ in members:
        namesakes[label] += 1
    sets: dict[str, tuple[int, ...]] = {}
    aliases: dict[str, tuple[str, ...]] = {}
    for number, ((label, others), indices) in enumerate(members.items(), start=1):
        shared = namesakes[label] > 1
        name = f"{label} ({others[0] if others else number})" if shared else label
        sets[name] = (*sets.get(name, ()), *indices)
        aliases[name] = (label, *others) if shared else others
    return sets, aliases


@dataclass(frozen=True, eq=False)
class ImageCollection:
    """Images in a fixed order, grouped in named image sets; `overall` is all of them.

    Attributes:
        items: the images.
        skipped: path and reason of every file that is no usable image.
        sets: positions in `items` by name of the image set; a set may be empty.
        aliases: other names of the sets, such as wnids.
        reader: gives one image, not yet decoded, by its position.
        source: what the images were read from, for messages.
        own: names of the image sets that are not of the source but a person's own (`with_sets`).
        left_out: why sets of one's own are not among `sets`, by name.
    """

    items: tuple[ImageItem, ...]
    skipped: tuple[tuple[str, str], ...]
    sets: Mapping[str, tuple[int, ...]]
    aliases: Mapping[str, tuple[str, ...]] = field(repr=False)
    reader: Callable[[int], Picture] = field(repr=False)
    source: str
    own: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        items: Iterable[ImageItem],
        reader: Callable[[int], Picture],
        *,
        source: str,
        skipped: Iterable[tuple[str, str]] = (),
        classes: Iterable[tuple[str, tuple[str, ...]]] = (),
        whole: str | None = None,
    ) -> Self:
        """Group images by label.

        Args:
            items: the images.
            reader: gives one image, not yet decoded, by its position.
            source: what they were read from, for messages.
            skipped: path and reason of files that are no usable images.
            classes: labels with their aliases that exist even where no image bears them, in their order.
            whole: a name for all images where none has a label.

        Raises:
            ImagesError: no image is left, or an image set is called `overall`.
        """
        known, left_out = tuple(items), tuple(skipped)
        if not known:
            raise ImagesError(_nothing(source, left_out))
        sets, aliases = _group(known, classes)
        clash = next((name for name in sets if name.casefold() == OVERALL), None)
        if clash is not None:
            raise ImagesError(f"{source} has an image set {clash!r}, a name that means all images; rename it")
        if not sets and whole and whole.casefold() != OVERALL:
            sets, aliases = {whole: tuple(range(len(known)))}, {}
        everything = {OVERALL: tuple(range(len(known)))}
        return cls(known, left_out, everything | sets, aliases, reader, source)

    def names(self) -> tuple[str, ...]:
        """Names of the image sets, `overall` first."""
        return tuple(self.sets)

    def with_sets(self, own: Iterable[OwnSet]) -> Self:
        """The same images, with image sets of one's own besides those of the source.

        A set whose images are not all here, or are others now, is left out, and so is one whose name means something
        here: where it is asked for, `find` says why.
        """
        made = self
        for each in own:
            found = [self._by_path[0].get(path, []) for path in each.paths]
            indices = tuple(sorted(index for same in found for index in same[:1]))
            absent = [path for path, same in zip(each.paths, found, strict=True) if len(same) != 1]
            if absent:
                why = f"{len(absent)} of its {len(found)} images are not in {self.source} ({absent[0]})"
            elif images_hash([self.items[index] for index in indices]) != each.images_hash:
                why = f"its images in {self.source} have changed since it was saved"
            else:
                why = made._taken(each.name)
            if why:
                made = made._changed(left_out={**made.left_out, each.name: why})
            else:
                made = made._changed(sets={**made.sets, each.name: indices}, own=(*made.own, each.name))
        return made

    def _changed(self, **changes: Any) -> Self:
        """The same images with other sets; what was worked out about them alone (there may be a million) is kept."""
        made = replace(self, **changes)
        made.__dict__["_by_path"] = self._by_path
        return made

    def own_set(self, name: str, paths: Sequence[str]) -> OwnSet:
        """Some of the images as an image set of one's own, which `with_sets` takes.

        Args:
            name: any text that means nothing in this collection yet.
            paths: of images, or their file names, as `find` knows them; one that is named twice counts once.

        Raises:
            ImagesError: the name is empty, too long, or taken; there are no images, or too many.
            ExpressionError: there is no such image.
        """
        called = composed(name).strip()
        if not called or len(called) > _MOST_CHARACTERS or not called.isprintable():
            raise ImagesError(f"{name[:40]!r} is no name: give 1 to {_MOST_CHARACTERS} printable characters")
        taken = self._taken(called)
        if taken:
            raise ImagesError(f"an image set cannot be called {called!r}: {taken}; choose another name")
        indices = sorted({self._image(path) for path in paths})
        if not 0 < len(indices) <= MOST_OWN_IMAGES:
            raise ImagesError(f"image set {called!r} would have {len(indices)} images; give 1 to {MOST_OWN_IMAGES:,}")
        items = [self.items[index] for index in indices]
        return OwnSet(called, tuple(composed(item.path) for item in items), images_hash(items))

    def _taken(self, name: str) -> str:
        """What a name, or a part of it between commas, means already; an empty text when it is free."""
        for part in dict.fromkeys((name, *synonyms(name))):
            found = self._set_names.lookup(part)
            if found:
                set_name = self.names()[found[0]]
                return f"{part!r} means {'your' if set_name in self.own else 'the'} image set {quote(set_name)}"
            images = self._images_called(part)
            if images:
                return f"{part!r} means the image {self.items[images[0]].path}"
        return ""

    def _image(self, name: str) -> int:
        """Position of the one image of a path or file name."""
        found = self._images_called(name)
        if len(found) == 1:
            return found[0]
        known = self.find(name)  # says what is nearest, or lists them where they are several
        if not known.single:
            raise ImagesError(f"{name!r} is an image set of {self.source}; name its images, one by one")
        return known.indices[0]

    def read(self, index: int) -> Image.Image:
        """Decode one image.

        Raises:
            ImagesError: names the path; the image is corrupt, gone, or outside the source's root.
        """
        return self.reader(index).decode()

    def is_set(self, name: str) -> bool:
        """Whether a name means one image set, by whatever way of writing it."""
        return len(self._set_names.lookup(name)) == 1

    def find(self, name: str) -> Found:
        """The image set that `name` means, else the image whose path or file name it is.

        Exact, then any synonym or alias, then without regard to case and with `_` and space alike.

        Raises:
            ExpressionError: nothing of this name (the nearest are suggested), or several things.
        """
        names = self.names()
        found = [Found(names[each], self.sets[names[each]], single=False) for each in self._set_names.lookup(name)]
        if not found:
            found = [Found(self.items[each].path, (each,), single=True) for each in self._images_called(name)]
        if not found:
            raise ExpressionError(self._unusable(name) or self._unknown(name))
        if len(found) > 1:
            kind = "images" if found[0].single else "image sets"
            listed = ", ".join(quote(each.name) for each in found[:5]) + (", ..." if len(found) > 5 else "")
            raise ExpressionError(f"{name!r} is one of {len(found)} {kind}: {listed}; name one of them")
        return found[0]

    def select(
        self, name: str, part: Part | None, limit: int | None = None, *, required: bool = False
    ) -> tuple[int, ...]:
        """Positions of the images of a set (or of a single image) that belong to a part.

        Args:
            name: as for `find`.
            part: `score` or `check`; None for both. A single image is taken whatever its part.
            limit: at most so many, the first by content hash: a random sample that is always the same.
            required: raise when nothing is selected, instead of returning an empty tuple.

        Raises:
            ExpressionError: from `find`.
            ImagesError: the limit is not positive; nothing is selected and something is `required`.
        """
        if limit is not None and limit < 1:
            raise ImagesError(f"cannot use {limit} images per image set; ask for at least 1")
        found = self.find(name)
        if found.single:
            return found.indices
        chosen = tuple(each for each in found.indices if part is None or self.items[each].part == part)
        if required and not chosen:
            total = len(found.indices)
            detail = f"none of its {total} images is in the {part} part" if total else "it is empty"
            raise ImagesError(f"image set {found.name!r} of {self.source} has no images to use: {detail}")
        if limit is None or limit >= len(chosen):
            return chosen
        return tuple(sorted(chosen, key=lambda each: (self.items[each].image_hash, each))[:limit])

    @cached_property
    def _set_names(self) -> Names:
        return Names((name, self.aliases.get(name, ())) for name in self.sets)

    @cached_property
    def _by_path(self) -> tuple[dict[str, list[int]], ...]:
        exact: defaultdict[str, list[int]] = defaultdict(list)
        file: defaultdict[str, list[int]] = defaultdict(list)
        lenient: defaultdict[str, list[int]] = defaultdict(list)
        for index, item in enumerate(self.items):
            path = composed(item.path)
            name = _file_name(path)
            exact[path].append(index)
            file[name].append(index)
            for key in {path.casefold(), name.casefold()}:
                lenient[key].append(index)
        return exact, file, lenient

    def _images_called(self, name: str) -> list[int]:
        exact, file, lenient = self._by_path
        key = composed(name).removeprefix("./")
        return exact.get(key) or file.get(key) or lenient.get(key.casefold(), [])

    def _unusable(self, name: str) -> str:
        """Why a set of one's own of that name is left out; an empty text when there is none."""
        names = tuple(self.left_out)
        found = Names((each, ()) for each in names).lookup(name)
        return "".join(f"your image set {names[at]!r} cannot be used: {self.left_out[names[at]]}" for at in found[:1])

    def _unknown(self, name: str) -> str:
        left, slash, right = name.rpartition("/")
        hint = (
            f"; to divide, write {left} / {right}" if slash and right.isdigit() and self._set_names.lookup(left) else ""
        )
        hint = hint or nearest(name, self._set_names.known())
        if not hint and len(self.items) <= _MOST_SUGGESTED:
            hint = nearest(name, [_file_name(item.path) for item in self.items])
        if not hint:
            some = [quote(name) for name in self.names() if name != OVERALL][:5]
            hint = f"; it has {', '.join([OVERALL, *some])}{', ...' if len(self.sets) > len(some) + 1 else ''}"
        return f"no image set or image is called {name!r} in {self.source}{hint}"


def _file_name(path: str) -> str:
    return path.rpartition("/")[2]


def _nothing(source: str, skipped: tuple[tuple[str, str], ...]) -> str:
    if not skipped:
        return f"{source} holds no images"
    path, reason = skipped[0]
    return f"{source} holds no usable images: {len(skipped)} files skipped, the first is {path} ({reason})"
