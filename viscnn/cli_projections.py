"""Commands about projections: where the filters of a model stand."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from viscnn import console

if TYPE_CHECKING:
    from viscnn.engine.projections.project import ProjectionReport

__all__ = ["register"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]
_METHODS = "class-umap, exemplar-umap, featureviz-umap, kernel-umap, mds, pca or grid"


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(project)
    app.command()(projections)


def project(
    model: Annotated[str, typer.Argument(help="Name of a stored model.")],
    method: Annotated[str, typer.Option(help=f"{_METHODS}.")] = "class-umap",
    seed: Annotated[int, typer.Option(help="Of UMAP; the same seed gives the same places on one machine.")] = 0,
    max_images: Annotated[int, typer.Option(min=0, help="At most so many images; 0 for all.")] = 0,
    images: Annotated[str | None, typer.Option(help="An image source instead of the model's own.")] = None,
    activate: Annotated[bool, typer.Option("--activate", help="Show the filters there from now on.")] = False,
    json: Json = False,
) -> None:
    """Place every filter in its layer's disc by what it does, and turn the discs: important kernels become short."""
    with console.session(json) as out, out.viscnn() as viscnn:
        settings: dict[str, Any] = {"method": method, "seed": seed, "max_images": max_images, "images": images}
        report = viscnn.project(model, activate=activate, progress=out.progress, **settings)
        out.notes(report.notes)
        out.result(_json(report), _text(report))


def projections(
    model: Annotated[str, typer.Argument(help="Name of a stored model.")],
    json: Json = False,
) -> None:
    """List the projections of a model; `viscnn activate UID` shows one."""
    with console.session(json) as out, out.viscnn() as viscnn:
        rows = viscnn.projections(model)
        columns = ["uid", "active", "trustworthiness", "continuity", "weightedLength", "seed"]
        out.result({"model": model, "projections": rows}, console.table(f"Projections of {model}", columns, rows))


def _json(report: "ProjectionReport") -> dict[str, Any]:
    named = {"model": report.model, "method": report.method, "uid": report.uid, "active": report.active}
    return named | report.properties()


def _text(report: "ProjectionReport") -> str:
    lengths = report.lengths
    quality = (
        f"trustworthiness {_number(report.trustworthiness)} ({_number(report.trustworthiness_before)} before smoothing)"
    )
    state = "active" if report.active else f"show it with: viscnn activate {report.uid}"
    return (
        f"{report.uid}: {quality}; weighted squared length of the kernels {lengths.ours:.4f}, greedy "
        f"{lengths.greedy:.4f}, unrotated {lengths.unrotated:.4f}; {report.seconds:.1f} s; {state}"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
