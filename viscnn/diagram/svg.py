"""A diagram as SVG: one string with everything inside, the same for the page, for files and for the PNG."""

import html
import re
import textwrap
from collections.abc import Mapping

from viscnn.colours import BLUE, RED, kernel_uri
from viscnn.diagram.kinds import KINDS, FilterPicture, counted
from viscnn.diagram.layout import IDENTITY, Column, Diagram, DrawnFilter, Edge, KernelPicture
from viscnn.diagram.places import FILTER, Bend
from viscnn.diagram.style import DARK, LIGHT, SAFE_DARK, SAFE_LIGHT, SIGN_CLASSES, Palette, style
from viscnn.errors import InputError

__all__ = ["caption", "edge_text", "filter_text", "markup", "summary", "svg"]

SIDE = 62.0
ABOVE, HEADING = FILTER / 2 + 14, 38.0
"""From a column's first middle up to its heading, and the heading's height before it is scaled."""
UNDER = 12.0
"""Edges go on below the pictures at their ends, so that discs have no gap."""
LINE = 17.0
"""Of the legend's text, before it is scaled."""
_LEGEND_WIDTH = 1250.0
"""A figure wider than this has texts larger in proportion, so that they can be read when the whole is looked at."""
FEWEST_LETTERS = 13
"""So many of a layer's name are shown; headings of many columns stay small for it."""
_LETTER = 6.2
_FONT = 'font-family="Helvetica, Arial, sans-serif"'
_STOPS = "".join(
    f'<stop offset="{at}" stop-color="rgb{colour}"/>' for at, colour in ((0, BLUE), (0.5, (255, 255, 255)), (1, RED))
)
_THEMES = " ".join(
    f'data-{name}="{style(palette)}"'
    for name, palette in (("light", LIGHT), ("dark", DARK), ("safelight", SAFE_LIGHT), ("safedark", SAFE_DARK))
)
"""Where a drawing is alive, it changes between them."""
_DEFINITIONS = (
    f'<defs><clipPath id="round"><rect x="{-FILTER / 2}" y="{-FILTER / 2}" width="{FILTER}" height="{FILTER}" rx="5"/>'
    f'</clipPath><linearGradient id="weights">{_STOPS}</linearGradient></defs>'
)
_CHANNELS = {"r": "#d62728", "g": "#2ca02c", "b": "#1f77b4"}
_UNSAID = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def svg(
    diagram: Diagram,
    pictures: Mapping[str, FilterPicture],
    *,
    palette: Palette = LIGHT,
    captioned: bool = True,
) -> str:
    """The drawing as an SVG document.

    Args:
        pictures: by uid of filter; who has none is drawn as a disc with its number.
        captioned: with a line about the circuit below, as a figure that stands alone needs it.

    Raises:
        InputError: a picture that is no data address of an image: a document must not ask for outside content.
    """
    for uid, (address, _) in pictures.items():
        if not re.fullmatch(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+", address):
            raise InputError(f"the picture of {uid} is no PNG or JPEG in a data address: {address[:40]!r}")
    width = max(diagram.width + FILTER + 2 * SIDE, 420.0)
    left = (width - diagram.width) / 2
    unit = max(1.0, width / _LEGEND_WIDTH)
    below, footer = _footer(diagram, pictures, width / unit, captioned=captioned)
    headings = min(unit, _spacing(diagram) / (_LETTER * 1.2 * FEWEST_LETTERS))
    top = ABOVE + HEADING * headings
    bottom = top + diagram.height + FILTER / 2 + 24 + 18 * unit
    height = bottom + below * unit
    size = f'width="{_n(width)}" height="{_n(height)}"'
    parts = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(width)} {_n(height)}" {size} {_FONT} role="img">',
        f"<title>{markup(_title(diagram))}</title><style {_THEMES}>{style(palette)}</style>{_DEFINITIONS}",
        f'<rect class="paper" {size}/><g class="drawing" transform="translate({_n(left)} {_n(top)})">',
        f'<g class="headings">{"".join(_heading(each, diagram, headings) for each in diagram.columns)}</g>',
        f'<g class="edges">{_edges(diagram)}</g>',
        f'<g class="kernels">{"".join(_kernel(each, diagram) for each in diagram.pictures)}</g>',
        f'<g class="filters">{_filters(diagram, pictures)}</g></g>',
        f'<g class="legend" transform="translate({_n(SIDE / 2)} {_n(bottom)}) scale({_n(unit)})">{footer}</g></svg>',
    )
    return "".join(parts)


# -- texts -------------------------------------------------------------------------------------------------------------


def filter_text(each: DrawnFilter, picture: FilterPicture | None = None) -> str:
    """A filter in one line, with what its picture shows."""
    name = each.uid.partition("/")[2]
    if each.kind == "input":
        return f"{name}: input channel"
    what = "channel of a sum, score" if each.kind == "sum" else "score"
    shown = f"; picture: {KINDS[picture.kind]}" if picture is not None and picture.kind in KINDS else ""
    return f"{name}: {'target, ' if each.target else ''}{what} {each.score:.3g}{shown}"


def caption(diagram: Diagram, pictures: Mapping[str, FilterPicture]) -> str:
    """What the drawing shows, of whatever its pictures are, and what it leaves out."""
    found = counted(pictures, [each.uid for each in diagram.filters])
    return f"{diagram.caption}; {found}" if found else diagram.caption


def edge_text(edge: Edge, diagram: Diagram) -> str:
    """A kernel or identity in one line."""
    source, target = (diagram.filters[end].uid.partition("/")[2] for end in (edge.source, edge.target))
    if edge.sign == IDENTITY:
        return f"{source} → {target}: identity (addend {edge.input}), score {edge.score:.3g}"
    return f"{source} → {target}: {SIGN_CLASSES[edge.sign]} kernel, score {edge.score:.3g}"


def _title(diagram: Diagram) -> str:
    circuit = diagram.circuit
    return f"Circuit of {circuit.get('target', circuit['uid'])} in {circuit.get('model', '')}"


def summary(diagram: Diagram) -> str:
    """The circuit and its evidence in one line."""
    circuit = diagram.circuit
    parts = [_title(diagram)]
    if circuit.get("upstreamKernels"):
        share = 100 * float(circuit.get("keptFraction", 0.0))
        parts.append(f"{circuit['kernels']:,} of {circuit['upstreamKernels']:,} kernels upstream kept ({share:.2g} %)")
    if circuit.get("pearson") is not None:
        controls = [
            f"{name} {circuit[key]:.3f}"
            for name, key in (
                ("largest weights", "pearsonMagnitude"),
                ("random", "pearsonRandom"),
                ("worst", "pearsonWorst"),
            )
            if circuit.get(key) is not None
        ]
        beside = f" ({', '.join(controls)})" if controls else ""
        parts.append(f"Pearson r {circuit['pearson']:.3f}{beside} on {circuit.get('checkImages', 0):,} check images")
    return " · ".join(parts)


# -- parts -------------------------------------------------------------------------------------------------------------


def _spacing(diagram: Diagram) -> float:
    return diagram.columns[1].x - diagram.columns[0].x if len(diagram.columns) > 1 else 200.0


def _heading(column: Column, diagram: Diagram, unit: float) -> str:
    spacing = _spacing(diagram)
    name = _short(column.layer, int(spacing / (_LETTER * 1.2 * unit)) - 1)
    count = f"{column.included:,} of {column.filters:,}"
    if column.drawn < column.included:
        count = f"{column.drawn:,} drawn of {column.included:,}"
    return (
        f'<g transform="translate({_n(column.x)} {_n(-ABOVE)}) scale({_n(unit)})" text-anchor="middle">'
        f"<title>{markup(column.layer)}</title>"
        f'<text class="ink" font-size="13" font-weight="600" y="-16">{markup(name)}</text>'
        f'<text class="faint" font-size="11" y="-1">{markup(count)}</text></g>'
    )


def _edges(diagram: Diagram) -> str:
    """The lines, weak ones first, so that strong ones lie above them."""
    rows = sorted(range(len(diagram.edges)), key=lambda row: diagram.edges[row].width)
    return "".join(_edge(row, diagram.edges[row], diagram) for row in rows)


def _edge(row: int, edge: Edge, diagram: Diagram) -> str:
    opacity = 0.6 if edge.sign == IDENTITY else 0.3 + 0.55 * edge.shown
    return (
        f'<path class="edge {SIGN_CLASSES[edge.sign]}" data-edge="{row}" data-source="{edge.source}" '
        f'data-target="{edge.target}" d="{_way(edge.bends)}" stroke-width="{_n(edge.width)}" '
        f'stroke-opacity="{_n(opacity)}"><title>{markup(edge_text(edge, diagram))}</title></path>'
    )


def _way(bends: tuple[Bend, ...]) -> str:
    """Curves between columns, joined by straight lines past them."""
    parts = []
    for (x0, y0), (x1, y1) in bends:
        middle = _n((x0 + x1) / 2)
        parts.append(f"L{_n(x0)} {_n(y0)}C{middle} {_n(y0)} {middle} {_n(y1)} {_n(x1)} {_n(y1)}")
    (x0, y0), (x1, y1) = bends[0][0], bends[-1][1]
    return f"M{_n(x0 - UNDER)} {_n(y0)}{''.join(parts)}L{_n(x1 + UNDER)} {_n(y1)}"


def _kernel(picture: KernelPicture, diagram: Diagram) -> str:
    edge, half = diagram.edges[picture.edge], picture.size / 2
    (x, y), size = picture.at, _n(picture.size)
    rows, columns = picture.weights.shape
    wide, tall = (picture.size * side / max(rows, columns) for side in (columns, rows))
    return (
        f'<g class="kernel" data-edge="{picture.edge}" data-source="{edge.source}" data-target="{edge.target}" '
        f'transform="translate({_n(x)} {_n(y)})"><title>{markup(edge_text(edge, diagram))}</title>'
        f'<image x="{_n(-wide / 2)}" y="{_n(-tall / 2)}" width="{_n(wide)}" height="{_n(tall)}" '
        f'preserveAspectRatio="none" href="{kernel_uri(picture.weights, picture.limit)}"/>'
        f'<rect class="frame {SIGN_CLASSES[edge.sign]}" x="{_n(-half)}" y="{_n(-half)}" width="{size}" '
        f'height="{size}" rx="1.5"/></g>'
    )


def _filters(diagram: Diagram, pictures: Mapping[str, FilterPicture]) -> str:
    return "".join(
        f'<g class="filter" data-filter="{row}" data-uid="{markup(each.uid)}" '
        f'transform="translate({_n(each.x)} {_n(each.y)})">'
        f"<title>{markup(filter_text(each, pictures.get(each.uid)))}</title>"
        f"{_picture(each, pictures[each.uid].address) if each.uid in pictures else _disc(each)}</g>"
        for row, each in enumerate(diagram.filters)
    )


def _picture(each: DrawnFilter, address: str) -> str:
    half = FILTER / 2
    box = f'x="{_n(-half)}" y="{_n(-half)}" width="{_n(FILTER)}" height="{_n(FILTER)}"'
    ring = _n(FILTER + 8), _n(-half - 4)
    target = f'<rect class="ring" x="{ring[1]}" y="{ring[1]}" width="{ring[0]}" height="{ring[0]}" rx="8"/>'
    label = _n(half + (13.5 if each.target else 11.5))
    return (
        f'<image {box} clip-path="url(#round)" preserveAspectRatio="xMidYMid slice" href="{address}"/>'
        f'<rect class="rim" {box} rx="5"/>{target if each.target else ""}'
        f'<text class="faint" font-size="10" text-anchor="middle" y="{label}">{markup(each.label)}</text>'
    )


def _disc(each: DrawnFilter) -> str:
    radius = FILTER / 2 - (3 if each.kind == "filter" else 6)
    ring = f'<circle class="ring" r="{_n(radius + 4)}"/>' if each.target else ""
    colour = _CHANNELS.get(each.label) if each.kind == "input" else None
    label = f"+{each.label}" if each.kind == "sum" else each.label
    size = min(13.0, 1.75 * radius / (0.6 * max(len(label), 1)))
    fill = f' style="fill:{colour};stroke:{colour}"' if colour else ""
    return (
        f'<circle class="disc" r="{_n(radius)}"{fill}/>{ring}'
        f'<text class="{"on" if colour else "ink"}" font-size="{_n(size)}" text-anchor="middle" '
        f'y="{_n(size * 0.36)}">{markup(label)}</text>'
    )


# -- legend ------------------------------------------------------------------------------------------------------------


def _footer(
    diagram: Diagram, pictures: Mapping[str, FilterPicture], width: float, *, captioned: bool
) -> tuple[float, str]:
    """The legend, and with `captioned` what is shown, below each other: their height and the elements."""
    rows = _wrapped(_legend_items(diagram), width - SIDE)
    parts, y = [], 0.0
    for row in rows:
        x = 0.0
        for wide, element in row:
            parts.append(
                f'<g class="item" data-width="{_n(wide)}" transform="translate({_n(x)} {_n(y)})">{element}</g>'
            )
            x += wide
        y += LINE + 3
    lines = [summary(diagram), caption(diagram, pictures)] if captioned else []
    for text in lines:
        for line in textwrap.wrap(text, max(int((width - SIDE) / 5.6), 40)):
            parts.append(f'<text class="faint" font-size="11" y="{_n(y + 4)}">{markup(line)}</text>')
            y += LINE - 1
    return y + 8, "".join(parts)


def _legend_items(diagram: Diagram) -> list[tuple[float, str]]:
    """Width and elements of each entry: the signs that are drawn, and the scale of kernel pictures."""
    found = {edge.sign for edge in diagram.edges}
    names = ["excitatory", "mixed", "inhibitory", "identity"]
    signs = {name: sign for sign, name in SIGN_CLASSES.items()}
    items = [_sign_item(name) for name in names if signs[name] in found]
    if found - {IDENTITY}:
        items.append(_text_item("width: score within the layer"))
    if diagram.pictures:
        items.append(_scale_item())
    return items


def _sign_item(name: str) -> tuple[float, str]:
    line = f'<path class="edge {name}" d="M0 0H22" stroke-width="{1.4 if name == "identity" else 4}"/>'
    return 28 + _LETTER * len(name) + 16, f'{line}<text class="ink" font-size="11" x="28" y="4">{name}</text>'


def _text_item(text: str) -> tuple[float, str]:
    return _LETTER * len(text) * 0.88 + 18, f'<text class="faint" font-size="11" y="4">{text}</text>'


def _scale_item() -> tuple[float, str]:
    label = "kernel weight within the layer"
    bar = '<rect width="54" height="9" y="-5" fill="url(#weights)"/><rect class="rim" width="54" height="9" y="-5"/>'
    return 62 + _LETTER * len(label), f'{bar}<text class="faint" font-size="11" x="61" y="4">{markup(label)}</text>'


def _wrapped(items: list[tuple[float, str]], width: float) -> list[list[tuple[float, str]]]:
    rows: list[list[tuple[float, str]]] = [[]]
    for item in items:
        if rows[-1] and sum(wide for wide, _ in rows[-1]) + item[0] > width:
            rows.append([])
        rows[-1].append(item)
    return rows


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"…{name[-max(most - 1, 1) :]}"


def markup(text: str) -> str:
    """Text that is safe between tags and in attributes; what XML forbids is left out."""
    return html.escape(_UNSAID.sub("", text), quote=True)


def _n(value: float) -> str:
    """A number of pixels, two decimals at most."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
