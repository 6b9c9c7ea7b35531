"""Diagrams as SVG, PNG and HTML: well-formed, complete, without anything from outside; pictures of filters."""

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from tests.test_diagram import drawn
from viscnn.diagram.html import page
from viscnn.diagram.kinds import FilterPicture
from viscnn.diagram.layout import Diagram
from viscnn.diagram.pictures import SIDE, image_kernels, kernels_picture, thumbnail
from viscnn.diagram.png import LARGEST, MOST_PIXELS, png
from viscnn.diagram.style import DARK, LIGHT, SAFE_DARK, SAFE_LIGHT, Palette, palette_of
from viscnn.diagram.svg import caption, svg
from viscnn.errors import InputError

NAME = "{http://www.w3.org/2000/svg}"
DOT = thumbnail(np.full((4, 4, 3), 200, dtype=np.uint8))
PICTURE = FilterPicture(DOT, "network")
EVIL = '</script><script>alert(1)</script> & "quoted" \x00\x0b\ud800 <b>'


def parts(document: str, name: str) -> list[ElementTree.Element]:
    """Elements of a class."""
    root = ElementTree.fromstring(document)
    return [each for each in root.iter() if name in each.get("class", "").split()]


def pixels(address: str) -> np.ndarray:
    content = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    return np.array(Image.open(io.BytesIO(content)))


@pytest.fixture
def diagram() -> Diagram:
    return drawn(2)


# -- SVG ---------------------------------------------------------------------------------------------------------------


def test_everything_is_in_the_drawing(diagram: Diagram) -> None:
    pictured = [each.uid for each in diagram.filters[::2]]
    document = svg(diagram, dict.fromkeys(pictured, PICTURE))
    filters = parts(document, "filter")
    assert [each.get("data-uid") for each in filters] == [each.uid for each in diagram.filters]
    with_image = [each.get("data-uid") for each in filters if each.find(f"{NAME}image") is not None]
    assert with_image == pictured
    edges = {int(each.get("data-edge", "")): each for each in parts(document, "edge") if each.get("data-edge")}
    assert sorted(edges) == list(range(len(diagram.edges)))
    for row, edge in enumerate(diagram.edges):
        names = {-1: "inhibitory", 0: "mixed", 1: "excitatory", 2: "identity"}
        assert edges[row].get("class") == f"edge {names[edge.sign]}"
        assert float(edges[row].get("stroke-width", "")) == pytest.approx(edge.width, abs=0.006)
    assert len(parts(document, "kernel")) == len(diagram.pictures)
    assert len(parts(document, "ring")) == 4
    texts = [each.text for each in ElementTree.fromstring(document).iter(f"{NAME}text")]
    assert {"input", "stem", "left", "right", "back", "add", "top"} <= set(texts)


def test_strong_edges_are_drawn_above_weak_ones(diagram: Diagram) -> None:
    widths = [float(each.get("stroke-width", "")) for each in parts(svg(diagram, {}), "edge") if each.get("data-edge")]
    assert widths == sorted(widths)


def test_the_figure_holds_all_that_is_drawn(diagram: Diagram) -> None:
    root = ElementTree.fromstring(svg(diagram, {}))
    _, _, width, height = (float(each) for each in root.get("viewBox", "").split())
    (drawing,) = [each for each in root if each.get("class") == "drawing"]
    left, top = (float(each) for each in re.findall(r"[\d.]+", drawing.get("transform", "")))
    assert left >= 30
    assert left + diagram.width + 30 <= width
    assert top >= 60
    assert top + diagram.height + 60 <= height


def test_colours_are_those_of_the_palette(diagram: Diagram) -> None:
    light, dark = svg(diagram, {}), svg(diagram, {}, palette=DARK)
    styles = [ElementTree.fromstring(each).find(f"{NAME}style") for each in (light, dark)]
    assert [".edge.excitatory{stroke:#d0342c}" in (each.text or "") for each in styles if each is not None] == [
        True,
        False,
    ]
    assert ".edge.excitatory{stroke:#ff6f61}" in (styles[1].text or "") if styles[1] is not None else False


def of_the_3d_view(name: str, theme: str) -> dict[str, str]:
    """The colours of a palette in ui/component/theme.js."""
    script = (Path(__file__).parent.parent / "ui" / "component" / "theme.js").read_text()
    block = re.search(rf"const {name} = {{.*?\b{theme}: {{(.*?)}}", script, re.DOTALL)
    assert block is not None
    return dict(re.findall(r"(\w+): '(#[0-9a-f]{6})'", block[1]))


@pytest.mark.parametrize(
    ("palette", "name", "theme"),
    [
        (LIGHT, "KERNELS", "light"),
        (DARK, "KERNELS", "dark"),
        (SAFE_LIGHT, "SAFE", "light"),
        (SAFE_DARK, "SAFE", "dark"),
    ],
)
def test_colours_of_signs_are_those_of_the_3d_view(palette: Palette, name: str, theme: str) -> None:
    signs = ("identity", "inhibitory", "mixed", "excitatory")
    assert {each: getattr(palette, each) for each in signs} == of_the_3d_view(name, theme)
    assert palette.target == of_the_3d_view("FILTERS", theme)["goal"]
    assert palette_of(dark=theme == "dark", safe=name == "SAFE") == palette


@pytest.mark.parametrize("palette", [LIGHT, DARK, SAFE_LIGHT, SAFE_DARK])
def test_a_drawing_is_dressed_by_its_palette_and_can_change_to_all(diagram: Diagram, palette: Palette) -> None:
    sheet = ElementTree.fromstring(svg(diagram, {}, palette=palette)).find(f"{NAME}style")
    assert sheet is not None
    assert f".edge.excitatory{{stroke:{palette.excitatory}}}" in (sheet.text or "")
    assert f".frame.inhibitory{{stroke:{palette.inhibitory}}}" in (sheet.text or "")
    others = {"light": LIGHT, "dark": DARK, "safelight": SAFE_LIGHT, "safedark": SAFE_DARK}
    assert {name: each for name, each in others.items() if sheet.get(f"data-{name}") == sheet.text} == {
        next(name for name, each in others.items() if each == palette): palette
    }


def test_an_image_in_safe_colours_has_no_red_lines(diagram: Diagram) -> None:
    def lines(palette: Palette) -> np.ndarray:
        """Hues of what is drawn with much colour in a figure of lines alone."""
        plain = replace(diagram, pictures=())
        image = Image.open(io.BytesIO(png(svg(plain, {}, palette=palette), scale=1))).convert("HSV")
        hue, saturation, _ = (np.asarray(each).reshape(-1) for each in image.split())
        return hue[saturation > 150] * (360 / 256)

    def near(hues: np.ndarray, wanted: float) -> int:
        return int((np.abs((hues - wanted + 180) % 360 - 180) < 8).sum())

    signs, safe = lines(LIGHT), lines(SAFE_LIGHT)
    red, orange = 3, 27  # degrees of #d0342c and #d55e00
    assert near(signs, red) > 500
    assert near(signs, orange) == 0
    assert near(safe, orange) > 500


def test_names_cannot_break_the_documents(diagram: Diagram) -> None:
    first = replace(diagram.filters[0], uid=f"m/{EVIL}/0", label=EVIL)
    column = replace(diagram.columns[0], layer=EVIL)
    circuit: dict[str, Any] = {"uid": EVIL, "target": EVIL, "model": EVIL}
    evil = replace(
        diagram, circuit=circuit, filters=(first, *diagram.filters[1:]), columns=(column, *diagram.columns[1:])
    )
    document = svg(evil, {})
    root = ElementTree.fromstring(document)
    assert not list(root.iter(f"{NAME}script"))
    assert not list(root.iter(f"{NAME}b"))
    assert page(evil, {}).count("</script>") == 2
    document.encode()
    page(evil, {}).encode()


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1/x.png", "data:text/html;base64,AAAA", 'data:image/png;base64,AA"/><a', "x"]
)
def test_a_picture_from_outside_is_refused(diagram: Diagram, address: str) -> None:
    with pytest.raises(InputError, match="no PNG or JPEG in a data address"):
        svg(diagram, {diagram.filters[0].uid: FilterPicture(address)})


@pytest.mark.parametrize("make", [svg, page])
def test_nothing_is_asked_for_from_outside(diagram: Diagram, make: Any) -> None:
    document = make(diagram, {diagram.filters[4].uid: PICTURE})
    addresses = set(re.findall(r"\w+://[^\s\"'\\<]+", document))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, not an address
    for each in re.findall(r"(?:href|src)=\\?[\"']([^\"'\\]*)", document):
        assert each.startswith("data:image/")
    assert "@import" not in document


def test_what_each_picture_shows_is_told(diagram: Diagram) -> None:
    drawn_filters = [each for each in diagram.filters if each.kind == "filter"]
    kinds = ("circuit", "network", "network", "kernels", "exemplar", "")
    shown = {each.uid: FilterPicture(DOT, kind) for each, kind in zip(drawn_filters, kinds, strict=False)}
    titles = {}
    for each in parts(svg(diagram, shown), "filter"):
        titles[each.get("data-uid")] = each.findtext(f"{NAME}title", "").partition("; picture: ")[2]
    said = ["visualisation from the circuit", *["visualisation from the whole network"] * 2, "its own kernels"]
    assert [titles[uid] for uid in shown] == [*said, "patch that excites it most", ""]
    assert {titles[each.uid] for each in diagram.filters if each.uid not in shown} == {""}
    words = "filters drawn: 1 by its kernels, 1 by a visualisation from the circuit, 2 by visualisations from the whole"
    for document in (svg(diagram, shown), page(diagram, shown)):
        text = " ".join(re.sub(r"</text><text[^>]*>", " ", document).split())
        assert f"{words} network, 1 by a patch of an image, 1 by another picture" in text
    assert caption(diagram, {}) == diagram.caption
    assert "filters drawn" not in svg(diagram, shown, captioned=False)


# -- other files -------------------------------------------------------------------------------------------------------


def test_the_page_holds_the_drawing_and_forbids_outside_content(diagram: Diagram) -> None:
    document = page(diagram, {diagram.filters[4].uid: PICTURE})
    assert "default-src 'none'" in document
    match = re.search(r'<script type="application/json" id="diagram">(.*?)</script>', document, re.DOTALL)
    assert match is not None
    assert json.loads(match[1]) == svg(diagram, {diagram.filters[4].uid: PICTURE}, captioned=False)
    assert diagram.caption in document


def test_the_image_is_the_drawing(diagram: Diagram) -> None:
    red = thumbnail(np.full((8, 8, 3), (255, 0, 0), dtype=np.uint8))
    chosen = diagram.filters[20]
    document = svg(diagram, {chosen.uid: FilterPicture(red)})
    root = ElementTree.fromstring(document)
    image = Image.open(io.BytesIO(png(document, scale=1.5))).convert("RGB")
    assert image.size == pytest.approx([1.5 * float(root.get(side, "")) for side in ("width", "height")], abs=1)
    (drawing,) = [each for each in root if each.get("class") == "drawing"]
    left, top = (float(each) for each in re.findall(r"[\d.]+", drawing.get("transform", "")))
    at = round(1.5 * (left + chosen.x)), round(1.5 * (top + chosen.y))
    assert image.getpixel(at) == (255, 0, 0)
    assert image.getpixel((2, 2)) == (255, 255, 255)
    heading = np.array(image)[: round(1.5 * (top - 20))]
    assert heading.min() < 100  # there is a font for the text


def test_a_large_image_is_scaled_down(diagram: Diagram) -> None:
    tall = replace(diagram, height=40_000.0)
    image = Image.open(io.BytesIO(png(svg(tall, {}))))
    assert max(image.size) <= LARGEST + 1
    assert image.size[0] * image.size[1] <= MOST_PIXELS * 1.01
    with pytest.raises(InputError, match="scale 0"):
        png(svg(diagram, {}), scale=0)


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_three_kernels_are_the_positive_part_of_an_image() -> None:
    kernels = np.zeros((3, 2, 2))
    kernels[0, 0, 0], kernels[1, 0, 1], kernels[2, 1, 0] = 2.0, 1.0, -5.0
    found = kernels_picture(kernels)
    brightened = round(255 * np.log1p(9 * 0.5) / np.log1p(9))
    assert found.tolist() == [[[255, 0, 0], [0, brightened, 0]], [[0, 0, 0], [0, 0, 0]]]
    assert kernels_picture(np.full((3, 1, 1), -1.0)).tolist() == [[[0, 0, 0]]]


def test_a_single_kernel_is_grey_around_its_middle() -> None:
    assert kernels_picture(np.array([[[-4.0, 0.0], [2.0, 4.0]]])).tolist() == [[0, 128], [191, 255]]


def test_thumbnails_keep_small_images_sharp_and_scale_large_ones_down() -> None:
    small = np.arange(75, dtype=np.uint8).reshape(5, 5, 3)
    assert np.array_equal(pixels(thumbnail(small)), small.repeat(20, 0).repeat(20, 1))
    assert pixels(thumbnail(np.zeros((300, 200, 3), dtype=np.uint8))).shape == (SIDE, 64, 3)
    assert pixels(thumbnail(np.zeros((28, 28, 1), dtype=np.uint8))).ndim == 2


def test_only_kernels_of_one_or_three_channels_are_a_picture() -> None:
    def row(uid: str, count: int, **changes: Any) -> dict[str, Any]:
        weights: list[Any] = [[1.0] * 4] * count
        return {"uid": uid, "kernelSize": [2, 2], "channels": list(range(count)), "weights": weights} | changes

    rows = [
        row("rgb", 3),
        row("grey", 1),
        row("five", 5),
        row("none", 3, weights=[]),
        row("two", 3, channels=[0, 2, 1]),
    ]
    assert image_kernels(rows).keys() == {"rgb", "grey"}
