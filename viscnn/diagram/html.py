"""A diagram as a page of its own: the drawing, what speaks for the circuit, and a script that isolates what is clicked.

The file asks for nothing outside itself, and a content policy in it forbids that it ever does.
"""

import json
from collections.abc import Mapping
from importlib import resources

from viscnn.diagram.kinds import FilterPicture
from viscnn.diagram.layout import Diagram
from viscnn.diagram.svg import caption, markup, summary, svg

__all__ = ["page", "script"]

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>
html, body {{ margin: 0; height: 100%; }}
body {{ display: flex; flex-direction: column; font: 14px/1.4 Helvetica, Arial, sans-serif; }}
main {{ flex: 1; min-height: 0; }}
main > div {{ height: 100%; }}
footer {{ padding: 8px 16px 12px; border-top: 1px solid rgba(128, 128, 128, .3); }}
footer p {{ margin: 0; }}
#chosen {{ font-weight: 600; min-height: 1.4em; }}
</style></head>
<body><main></main>
<footer><p id="chosen"></p><p>{about}</p><p>{caption}</p></footer>
<script type="application/json" id="diagram">{data}</script>
<script>{script}
const chosen = document.getElementById('chosen');
const hint = 'Click a filter or a kernel to isolate it; drag to move, wheel to zoom, arrows to walk.';
const view = new DiagramView(document.querySelector('main'), () => {{
  const kinds = ['.filter.chosen', '.kernel.chosen', '.edge.kept'];
  const found = kinds.map((each) => view.svg.querySelector(each)).find(Boolean);
  chosen.textContent = found ? found.dataset.text : hint;
}});
const dark = matchMedia('(prefers-color-scheme: dark)');
function dress() {{
  view.dress(dark.matches ? 'dark' : 'light', {safe});
  const colours = getComputedStyle(view.root);
  Object.assign(document.body.style, {{
    background: colours.getPropertyValue('--paper'), color: colours.getPropertyValue('--ink'),
  }});
}}
view.show(JSON.parse(document.getElementById('diagram').textContent), 'circuit');
dress();
dark.addEventListener('change', dress);
chosen.textContent = hint;
</script></body></html>
"""


def script() -> str:
    """The script that makes a drawing move; the page uses it too."""
    return resources.files("viscnn.diagram").joinpath("diagram.js").read_text(encoding="utf-8")


def page(diagram: Diagram, pictures: Mapping[str, FilterPicture], *, safe: bool = False) -> str:
    """The drawing as an HTML document, in light and dark as the reader's system has it; signs in `safe` colours."""
    data = json.dumps(svg(diagram, pictures, captioned=False))
    about = summary(diagram)
    return _PAGE.format(
        policy=_POLICY,
        title=markup(about.partition(" · ")[0]),
        about=markup(about),
        caption=markup(caption(diagram, pictures)),
        data=data.replace("<", "\\u003c"),  # a name cannot end the element
        script=script(),
        safe=json.dumps(safe),
    )
