"""The command that draws a circuit into a file."""

from typing import Annotated

import typer

from viscnn import console

__all__ = ["register"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(diagram)


def diagram(
    uid: Annotated[str, typer.Argument(help="uid of a stored circuit; `viscnn circuits` lists them.")],
    out: Annotated[str, typer.Option(help="File that ends in .svg, .png or .html.")],
    limit: Annotated[int, typer.Option(min=2, help="Filters at most, those with the highest scores.")] = 500,
    dark: Annotated[bool, typer.Option("--dark", help="Light on dark; HTML follows the reader's system.")] = False,
    safe: Annotated[bool, typer.Option("--safe", help="Blue and orange, for any kind of colour blindness.")] = False,
    pictures: Annotated[bool, typer.Option(help="Draw filters by pictures that exist, not all as discs.")] = True,
    scale: Annotated[float, typer.Option(help="Of a PNG: pixels for each of the drawing.")] = 2.0,
    json: Json = False,
) -> None:
    """Draw a circuit: its filters in columns by layer, its kernels between them. Nothing is rendered or scored."""
    with console.session(json) as shown, shown.viscnn() as viscnn:
        found = viscnn.save_diagram(uid, out, limit=limit, pictures=pictures, dark=dark, safe=safe, scale=scale)
        shown.result(found, f"{found['file']}: {found['caption']}")
