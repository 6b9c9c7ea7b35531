"""How a diagram looks, in light and dark: one style sheet for the page, and for exported SVG, PNG and HTML."""

from dataclasses import dataclass, replace

__all__ = ["DARK", "LIGHT", "SAFE_DARK", "SAFE_LIGHT", "SIGN_CLASSES", "Palette", "palette_of", "style"]

SIGN_CLASSES = {-1: "inhibitory", 0: "mixed", 1: "excitatory", 2: "identity"}


@dataclass(frozen=True)
class Palette:
    """Colours; those of signs and of the target are the ones of the 3-D view (ui/component/theme.js)."""

    paper: str
    ink: str
    faint: str
    disc: str
    rim: str
    target: str
    excitatory: str
    inhibitory: str
    mixed: str
    identity: str


LIGHT = Palette(
    "#ffffff", "#1c2430", "#667085", "#f2f4f7", "#98a2b3", "#8b3fc7", "#d0342c", "#1f6fb8", "#8c8f94", "#4a5360"
)
DARK = Palette(
    "#0e1117", "#e8ecf2", "#98a2b3", "#1d2430", "#5d6878", "#c58cff", "#ff6f61", "#5cb0ff", "#9aa0a8", "#c9ced6"
)
SAFE_LIGHT = replace(LIGHT, excitatory="#d55e00", inhibitory="#0072b2")
SAFE_DARK = replace(DARK, excitatory="#e69f00", inhibitory="#56b4e9")
"""Signs in blue and orange (Okabe and Ito 2008), told apart with any kind of colour blindness."""


def palette_of(*, dark: bool = False, safe: bool = False) -> Palette:
    """The palette for light or dark paper, with signs in red and blue or in safe colours."""
    if safe:
        return SAFE_DARK if dark else SAFE_LIGHT
    return DARK if dark else LIGHT


def style(palette: Palette) -> str:
    """The style sheet: plain class selectors, which every program that reads SVG knows; and two colours for scripts."""
    signs = "".join(
        f".edge.{name}{{stroke:{colour}}}.frame.{name}{{stroke:{colour}}}"
        for name, colour in (
            ("excitatory", palette.excitatory),
            ("inhibitory", palette.inhibitory),
            ("mixed", palette.mixed),
            ("identity", palette.identity),
        )
    )
    return (
        f".viscnn-diagram{{--paper:{palette.paper};--ink:{palette.ink}}}"
        f".paper{{fill:{palette.paper}}}"
        f".edge{{fill:none;stroke-linecap:butt}}{signs}"
        ".frame{fill:none;stroke-width:1.6}"
        f".disc{{fill:{palette.disc};stroke:{palette.rim};stroke-width:1.2}}"
        f".rim{{fill:none;stroke:{palette.rim};stroke-width:1.2}}"
        f".ring{{fill:none;stroke:{palette.target};stroke-width:2.6}}"
        f".ink{{fill:{palette.ink}}}.faint{{fill:{palette.faint}}}"
        ".on{fill:#ffffff}"
    )
