"""The command about image sets of one's own."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from viscnn import console
from viscnn.errors import InputError

if TYPE_CHECKING:
    from viscnn.api import VISCNN

__all__ = ["register"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(name="image-set")(image_set)


def image_set(
    model: Annotated[str, typer.Argument(help="Name of a stored model.")],
    name: Annotated[str | None, typer.Argument(help="Name of the set; without it, the sets are listed.")] = None,
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH...", help="Images of the model's image source, such as mnist/17."),
    ] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Remove this set of your own instead.")] = False,
    json: Json = False,
) -> None:
    """Make an image set of your own of some images, to be used in expressions; or remove one, or list them all."""
    with console.session(json) as out:
        _check(name, paths, drop)
        with out.viscnn() as viscnn:
            if name is None:
                out.result(*_listed(viscnn, model))
            elif drop:
                viscnn.drop_image_set(model, name)
                out.result({"model": model, "dropped": name}, f"image set {name!r} of {model} is removed")
            else:
                found = viscnn.save_image_set(model, name, paths or [])
                out.notes(found["notes"])
                out.result({"model": model, **found}, _saved(model, found))


def _check(name: str | None, paths: list[str] | None, drop: bool) -> None:
    """Refuse arguments that do not go together."""
    if drop and (name is None or paths):
        raise InputError("--drop removes a whole image set: give its name, and no images")
    if name is not None and not drop and not paths:
        raise InputError(f"no images are given for image set {name!r}: name them behind it, or --drop it")


def _listed(viscnn: "VISCNN", model: str) -> tuple[dict[str, Any], Any]:
    sets = viscnn.image_sets(model)
    return {"model": model, "imageSets": sets}, console.table("Image sets", ["name", "images", "own"], sets)


def _saved(model: str, found: dict[str, Any]) -> str:
    return (
        f"image set {found['name']!r} of {model}: {found['images']} images, {found['scoreImages']} to score and "
        f"{found['checkImages']} to check on"
    )
