"""Commands about single filters, kernels and images."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from viscnn import console

if TYPE_CHECKING:
    from viscnn.engine.one_image import Response

__all__ = ["register"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]
CHANGES_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(name="filter")(show_filter)
    app.command()(receptive)
    app.command()(intervene)


def show_filter(
    uid: Annotated[str, typer.Argument(help="uid of a filter, such as mnist/conv2/5.")],
    query: Annotated[str | None, typer.Option(help="uid of a saved query, for its scores.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Number of incoming and of outgoing kernels.")] = 10,
    json: Json = False,
) -> None:
    """Show a filter: its scores, its top kernels both ways, its class profile, filters like it."""
    with console.session(json) as out, out.viscnn() as viscnn:
        found: dict[str, Any] = {
            "filter": viscnn.filter(uid, query=query),
            "kernels": viscnn.incoming_kernels(uid, query=query, limit=top),
            "outgoing": viscnn.outgoing_kernels(uid, query=query, limit=top),
            "scores": viscnn.filter_scores(uid),
            "classProfile": viscnn.class_profile(uid),
            "similar": viscnn.similar_filters(uid),
        }
        columns = ["score", "l1", "signRatio", "sign"]
        out.result(
            found,
            console.table(f"into {uid}", ["source", "input", *columns], found["kernels"]),
            console.table(f"from {uid}", ["target", "input", *columns], found["outgoing"]),
            console.table("scores", ["query", "input", "output", "criterion", "score", "rank"], found["scores"]),
            console.table("like it", ["uid", "similarity", "bestClass"], found["similar"]),
        )


def receptive(
    unit: Annotated[str, typer.Argument(metavar="UID@ROW,COLUMN", help="A filter at a position: mnist/conv2/5@3,4.")],
    layer: Annotated[str, typer.Option(help="The receptive field in the maps of this layer.")] = "input",
    json: Json = False,
) -> None:
    """Say which pixels of the image (or positions of another layer's maps) can influence a filter at a position."""
    from viscnn.cli_options import filter_at
    from viscnn.reports import receptive_text

    with console.session(json) as out, out.viscnn() as viscnn:
        uid, position = filter_at(unit)
        found = viscnn.receptive_field(uid, position, layer=layer)
        out.result({"uid": uid, **found.facts()}, receptive_text(uid, found))


def intervene(
    model: Annotated[str, typer.Argument(help="Name of a stored model.")],
    image: Annotated[
        str,
        typer.Argument(
            help="A path of its image source, such as three/12.png, a file, or `visualization:UID`: what "
            "`viscnn visualize` has rendered."
        ),
    ],
    factors: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=FACTOR", help="uid of a filter, or 'SOURCE -> TARGET' of a kernel, and a number: 0 ablates."
        ),
    ],
    output: Annotated[str | None, typer.Option(help="What T is: loss, class:NAME, filter:UID...")] = None,
    json: Json = False,
) -> None:
    """Scale or ablate filters and kernels, and say what changes on an image; nothing is stored."""
    from viscnn.cli_options import factor_values, input_image

    with console.session(json) as out, out.viscnn() as viscnn:
        asked = factor_values(factors)
        found = viscnn.intervene(model, input_image(viscnn, model, image), asked, output=output)
        named: dict[str, Any] = {"model": model, "image": image, "factors": asked}
        line = f"{found.target}: {found.before:.6g} as it is, {found.after:.6g} with {len(asked)} interventions"
        changes = _changes(found)
        table = console.table("logits that change most", ["class", "before", "after", "change"], changes)
        named |= {"output": found.target, "label": found.label, "predicted": found.predicted}
        result = named | {"before": found.before, "after": found.after, "logits": changes}
        out.result(result, line, *([table] if changes else []))


def _changes(found: "Response") -> list[dict[str, Any]]:
    """The classes whose logits change most."""
    if found.logits is None:
        return []
    before, after = (each.tolist() for each in found.logits)
    names = [found.classes[at] if at < len(found.classes) else str(at) for at in range(len(before))]
    order = sorted(range(len(before)), key=lambda at: -abs(after[at] - before[at]))[:CHANGES_SHOWN]
    return [
        {"class": names[at], "before": before[at], "after": after[at], "change": after[at] - before[at]} for at in order
    ]
