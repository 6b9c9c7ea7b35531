"""The command about exemplars: the images that filters respond to most and least."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from viscnn import console
from viscnn.errors import InputError

if TYPE_CHECKING:
    from viscnn.api import VISCNN
    from viscnn.engine.exemplars import ExemplarReport

__all__ = ["register"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]
_COLUMNS = ["rank", "activation", "row", "column", "label", "path"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(exemplars)


def exemplars(
    model: Annotated[str, typer.Argument(help="Name of a stored model.")],
    count: Annotated[int | None, typer.Option(help="So many top and so many bottom images a filter; 9.")] = None,
    input: Annotated[  # noqa: A002
        str | None, typer.Option(help="The images of all sets that this expression names; overall.")
    ] = None,
    max_images: Annotated[int | None, typer.Option(min=0, help="At most so many images of each set; all.")] = None,
    images: Annotated[str | None, typer.Option(help="An image source instead of the model's own.")] = None,
    filter: Annotated[  # noqa: A002
        str | None, typer.Option("--filter", metavar="UID", help="List the stored exemplars of this filter instead.")
    ] = None,
    image: Annotated[
        str | None, typer.Option("--image", metavar="PATH", help="List the filters that this image excites instead.")
    ] = None,
    json: Json = False,
) -> None:
    """Find the images that every filter responds to most and least, and store them; or list what is stored."""
    settings: dict[str, Any] = {"count": count, "input": input, "max_images": max_images, "images": images}
    given = {name: value for name, value in settings.items() if value is not None}
    with console.session(json) as out:
        _check(model, given, filter, image)
        with out.viscnn() as viscnn:
            if filter is not None or image is not None:
                out.result(*_stored(viscnn, model, filter, image))
            else:
                report = viscnn.find_exemplars(model, progress=out.progress, **given)
                out.notes(report.notes)
                out.result(_json(report), _text(report))


def _check(model: str, given: dict[str, Any], uid: str | None, path: str | None) -> None:
    """Refuse options that do not go together."""
    if uid is not None and path is not None:
        raise InputError("--filter and --image list different things; give one of them")
    if (uid or path) is not None and given:
        option = min(given).replace("_", "-")
        raise InputError(f"--{option} is for finding exemplars; without --filter and --image they are found")
    if uid is not None and not uid.startswith(f"{model}/"):
        raise InputError(f"--filter {uid!r} is no filter of model {model!r}; its uids look like {model}/LAYER/0")


def _stored(viscnn: "VISCNN", model: str, uid: str | None, path: str | None) -> tuple[dict[str, Any], Any]:
    """Stored exemplars of a filter, or filters of an image, as JSON and as text."""
    if uid is not None:
        viscnn.model(model)
        rows = viscnn.exemplars(uid)
        return {"filter": uid, "exemplars": rows}, console.table(f"Exemplars of {uid}", _COLUMNS, rows)
    assert path is not None
    rows = viscnn.excited_filters(model, path)
    columns = ["uid", "rank", "activation", "row", "column"]
    text = (
        console.table(f"Filters that {path} excites", columns, rows)
        if rows
        else f"no filter has {path} among its exemplars"
    )
    return {"image": path, "filters": rows}, text


def _json(report: "ExemplarReport") -> dict[str, Any]:
    return {
        "model": report.model,
        "input": report.input,
        "count": report.count,
        "images": report.images,
        "filters": report.filters,
        "exemplars": report.hash,
        "seconds": round(report.seconds, 3),
        "undecoded": list(report.undecoded),
        "notFinite": list(report.not_finite),
        "notes": list(report.notes),
    }


def _text(report: "ExemplarReport") -> str:
    return (
        f"{report.model}: the {report.count} images of largest and of smallest pre-activation of {report.filters:,} "
        f"filters, among {report.images:,} images of {report.input}; {report.seconds:.1f} s"
    )
