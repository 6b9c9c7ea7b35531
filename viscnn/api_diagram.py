"""The part of the API that draws circuits: as data, and as SVG, PNG and HTML files."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from viscnn.api_exemplars import Exemplars
from viscnn.api_visualize import Visualizations
from viscnn.diagram.kinds import FilterPicture
from viscnn.errors import ConfigError, InputError

if TYPE_CHECKING:
    from viscnn.diagram.layout import Diagram

__all__ = ["FORMATS", "PICTURE_KINDS", "Diagrams", "FilterPicture", "Format", "PictureKind"]

Format = Literal["svg", "png", "html"]
PictureKind = Literal["kernels", "circuit", "network", "exemplar"]
PICTURE_KINDS: tuple[PictureKind, ...] = ("kernels", "circuit", "network", "exemplar")
PICTURE_CHANNELS = (1, 3)
_Source = Callable[[str, Sequence[str]], dict[str, str]]
FORMATS: tuple[Format, ...] = ("svg", "png", "html")


class Diagrams(Exemplars, Visualizations):
    """Methods of `VISCNN` about diagrams of circuits."""

    def circuit_diagram(self, uid: str, *, limit: int = 500) -> "Diagram":
        """A stored circuit laid out in columns: places of filters, ways of kernels, places of kernel pictures.

        Args:
            limit: filters at most; of a larger circuit those with the highest scores that stay connected.

        Raises:
            NotInGraph: no circuit of that uid, or its query is not complete.
            InputError: the limit is below 2.
        """
        from viscnn.diagram.circuit import circuit_diagram

        return circuit_diagram(self._graph, uid, limit=limit)

    def filter_pictures(
        self,
        model: str,
        uids: Sequence[str],
        *,
        circuit: str | None = None,
        kinds: Sequence[PictureKind] = PICTURE_KINDS,
    ) -> dict[str, FilterPicture]:
        """Small pictures of filters, PNG in data addresses with their kind; who has none is left out.

        Nothing is rendered.

        Args:
            circuit: uid of the circuit that the pictures are for.
            kinds: the first of these that a filter has:
                `kernels`: of a filter that reads the image its kernels, the positive part as RGB, brightened,
                `circuit`: a visualisation from the circuit's masked network, `network`: one from the whole network
                (both as `visualize` makes them without further settings), `exemplar`: the patch that excites it most.

        Raises:
            InputError: an unknown kind.
        """
        sources: dict[str, _Source] = {
            "kernels": self._kernels,
            "circuit": partial(self._visualized, circuit=circuit) if circuit else _none,
            "network": partial(self._visualized, circuit=None),
            "exemplar": self._patches,
        }
        found: dict[str, FilterPicture] = {}
        for kind in kinds:
            if kind not in sources:
                raise InputError(f"there is no kind of pictures {kind!r} (one of {', '.join(PICTURE_KINDS)})")
            missing = [uid for uid in uids if uid not in found]
            if missing:
                found |= {uid: FilterPicture(each, kind) for uid, each in sources[kind](model, missing).items()}
        return found

    def draw_diagram(
        self,
        diagram: "Diagram",
        kind: Format = "svg",
        *,
        pictures: Mapping[str, FilterPicture | str] | None = None,
        dark: bool = False,
        safe: bool = False,
        captioned: bool = True,
        scale: float = 2.0,
    ) -> bytes:
        """A diagram as a file: a vector drawing, an image, or a page that isolates what is clicked.

        Args:
            kind: `svg`, `png` or `html`; all three hold everything inside.
            pictures: of filters by uid: as `filter_pictures` has them, or any PNG or JPEG in data addresses; discs with
                numbers without them.
            dark: light on dark; a page follows the reader's system.
            safe: excitatory orange and inhibitory blue (Okabe and Ito 2008), told apart with any kind of colour
                blindness, in place of red and blue.
            captioned: with a line about the circuit below, as a figure that stands alone needs it.
            scale: of a PNG, pixels for each of the drawing.

        Raises:
            InputError: an unknown kind or a picture that is none.
        """
        from viscnn.diagram.html import page
        from viscnn.diagram.png import png
        from viscnn.diagram.style import palette_of
        from viscnn.diagram.svg import svg

        shown = {uid: FilterPicture(each) if isinstance(each, str) else each for uid, each in (pictures or {}).items()}
        if kind == "html":
            return page(diagram, shown, safe=safe).encode()
        drawn = svg(diagram, shown, palette=palette_of(dark=dark, safe=safe), captioned=captioned)
        if kind == "png":
            return png(drawn, scale=scale)
        if kind == "svg":
            return drawn.encode()
        raise InputError(f"a diagram is no {kind!r}; it is one of {', '.join(FORMATS)}")

    def save_diagram(
        self, uid: str, path: str | Path, *, limit: int = 500, pictures: bool = True, **settings: Any
    ) -> dict[str, Any]:
        """Draw a stored circuit into a file, by its ending: .svg, .png or .html.

        Args:
            pictures: draw filters by pictures where there are any (see `filter_pictures`), not all as discs.
            settings: `dark`, `safe` and `scale` of `draw_diagram`.

        Returns:
            What was drawn and what was left out, in numbers.

        Raises:
            InputError: another ending; ConfigError: the file cannot be written; and as `circuit_diagram`.
        """
        file = Path(path)
        kind = next((each for each in FORMATS if file.suffix.lower() == f".{each}"), None)
        if kind is None:
            raise InputError(f"{str(path)!r} is no file of a diagram; its name ends in .svg, .png or .html")
        diagram = self.circuit_diagram(uid, limit=limit)
        uids = [each.uid for each in diagram.filters]
        shown = self.filter_pictures(diagram.circuit["model"], uids, circuit=uid) if pictures else {}
        content = self.draw_diagram(diagram, kind, pictures=shown, **settings)
        try:
            file.write_bytes(content)
        except OSError as error:
            raise ConfigError(f"cannot write {str(path)!r}: {error.strerror}") from error
        kinds = Counter(each.kind for each in shown.values())
        counts = {"pictures": len(shown), "pictureKinds": {each: kinds[each] for each in PICTURE_KINDS}}
        return diagram.facts() | counts | {"caption": self.diagram_caption(diagram, shown), "file": str(file)}

    @staticmethod
    def diagram_caption(diagram: "Diagram", pictures: Mapping[str, FilterPicture]) -> str:
        """What a diagram with these pictures shows, how many there are of each kind, and what it leaves out."""
        from viscnn.diagram.svg import caption

        return caption(diagram, pictures)

    # -- pictures --------------------------------------------------------------------------------------------------

    def _visualized(self, model: str, uids: Sequence[str], circuit: str | None) -> dict[str, str]:
        from viscnn.diagram.pictures import thumbnail

        targets = _filters_of(model, uids)
        try:
            found = self.visualizations(targets, model=model, circuit=circuit) if targets else {}
        except InputError:  # the model cannot be run on this machine, so that nothing has been rendered here
            return {}
        return {uid: thumbnail(each.image) for uid, each in found.items() if each.image.shape[2] in PICTURE_CHANNELS}

    def _patches(self, model: str, uids: Sequence[str]) -> dict[str, str]:
        """What excites the filters most, where exemplars are stored and their images are on this machine."""
        from viscnn.diagram.pictures import thumbnail

        if self.model(model).get("exemplars") is None:
            return {}
        found: dict[str, str] = {}
        for uid in _filters_of(model, uids):
            try:
                patches, _ = self.exemplar_patches(uid, ranks=[0])
            except InputError:  # the model or all of its images are not on this machine
                return found
            if patches:
                found[uid] = thumbnail(patches[0])
        return found

    def _kernels(self, model: str, uids: Sequence[str]) -> dict[str, str]:
        from viscnn.diagram.pictures import image_kernels

        return image_kernels(self._graph.read("read/image_kernels", filters=list(uids)))


def _none(model: str, uids: Sequence[str]) -> dict[str, str]:
    return {}


def _filters_of(model: str, uids: Sequence[str]) -> list[str]:
    """All but the input channels."""
    return [uid for uid in uids if not uid.startswith(f"{model}/input/")]
