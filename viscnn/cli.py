"""The command line: one command per method of the API.

Every command takes `--json`: exactly one JSON object on standard output, nothing else; progress and notes go to
standard error. Exit codes: 0 done, 2 the caller's mistake, 1 anything else. Commands import what they need when they
run, so that `viscnn --help` is instant.
"""

import sys
from typing import Annotated, Any

import typer
from typer.main import get_command

from viscnn import cli_compare, cli_diagram, cli_exemplars, cli_filters, cli_images, cli_maps, cli_visualize, console
from viscnn.cli_projections import register
from viscnn.cli_server import server_app

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="VISCNN: a convolutional network as a graph in Neo4j, and the tools to find circuits in it.",
)
app.add_typer(server_app, name="server")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]
ModelOption = Annotated[str, typer.Option("--model", "-m", help="Name of a stored model.")]
Images = Annotated[str | None, typer.Option(help="A folder, an npz file, bundled:mnist, :cifar10 or :imagenet-sample.")]
MaxImages = Annotated[int, typer.Option(min=0, help="At most so many images of each image set; 0 for all.")]
Workers = Annotated[
    int | None, typer.Option(min=0, help="Processes that decode images; by default none for few images.")
]
_CRITERIA = (
    "taylor, taylor-signed, taylor-map, activation, gradient, snip, force(keep=0.05,rounds=10), grasp, "
    "integrated-gradients(steps=5), integrated-gradients-signed, weight, magnitude or random(seed=0)"
)
_OUTPUTS = "loss, class:NAME, filter:UID, layer:NAME, direction:NAME[0:0.5,7:-1], or a sum of them"


@app.command()
def ingest(
    model: Annotated[str, typer.Argument(help="A name that `viscnn zoo` lists, or path/to/file.py:function.")],
    name: Annotated[str | None, typer.Option(help="Name in the graph.")] = None,
    weights: Annotated[str | None, typer.Option(help="A .safetensors, .npz or .pt file, or `random`.")] = None,
    input: Annotated[str | None, typer.Option(help="Input shape, such as 3x224x224.")] = None,  # noqa: A002
    images: Images = None,
    classes: Annotated[str | None, typer.Option(help="Text file with one class name per line.")] = None,
    mean: Annotated[str | None, typer.Option(help="Per channel, such as 0.485,0.456,0.406.")] = None,
    std: Annotated[str | None, typer.Option(help="Per channel, such as 0.229,0.224,0.225.")] = None,
    replace: Annotated[bool, typer.Option(help="Store it anew even if the name is taken.")] = False,
    importance: Annotated[bool, typer.Option(help="With images: compute the cached importance.")] = True,
    heads: Annotated[bool, typer.Option("--heads", help="The linear layers behind flattened maps too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --heads: also more than 5,000,000 kernels.")] = False,
    no_weights: Annotated[bool, typer.Option("--no-weights", help="Kernels without their weights.")] = False,
    kernels_above: Annotated[float | None, typer.Option(help="Only kernels with a larger L1 norm.")] = None,
    top_kernels: Annotated[int | None, typer.Option(help="Only so many kernels, of largest L1 norm.")] = None,
    bulk: Annotated[bool, typer.Option("--bulk", help="By offline import, into an empty managed server.")] = False,
    json: Json = False,
) -> None:
    """Write a model into the graph: every filter a node, every kernel a relationship."""
    from viscnn.cli_options import class_names, confirmation, numbers
    from viscnn.ingest.zoo import parse_shape
    from viscnn.reports import ingest_json, ingest_text

    with console.session(json) as out, out.viscnn() as viscnn:
        report = viscnn.ingest(
            model,
            name=name,
            weights=weights,
            input_shape=parse_shape(input) if input else None,
            classes=class_names(classes),
            mean=numbers("--mean", mean),
            std=numbers("--std", std),
            images=images,
            replace=replace,
            importance=importance,
            heads=heads,
            kernel_weights=not no_weights,
            kernels_above=kernels_above,
            top_kernels=top_kernels,
            confirm=confirmation(out.say, yes=yes),
            bulk=bulk,
            advise=out.say,
            progress=out.progress,
        )
        out.notes(report.notes)
        out.result(ingest_json(report), ingest_text(report))


@app.command()
def models(json: Json = False) -> None:
    """List the stored models."""
    with console.session(json) as out, out.viscnn() as viscnn:
        found = viscnn.models()
        columns = ["name", "architecture", "status", "layers", "filters", "kernels", "activeQuery"]
        out.result({"models": found}, console.table("Models", columns, found) if found else "no models are stored")


@app.command()
def zoo(
    source: Annotated[str | None, typer.Argument(help="Only those of bundled, data, torchvision or timm.")] = None,
    json: Json = False,
) -> None:
    """List the models that can be ingested by name, and whether their weights are on this machine."""
    from viscnn.api import VISCNN

    with console.session(json) as out:
        found = VISCNN.zoo(source)
        shown = [each for each in found["models"] if each["source"] != "timm" or source]  # timm's are too many
        columns = ["name", "source", "inputShape", "ready"]
        out.notes(f"{each['source']}: {each['models']:,} models; {each['atHand']}" for each in found["sources"])
        if len(shown) < len(found["models"]):
            out.notes(["viscnn zoo timm lists those of timm"])
        out.result(found, console.table("Models by name", columns, shown))


@app.command()
def drop(model: Annotated[str, typer.Argument(help="Name of a stored model.")], json: Json = False) -> None:
    """Remove a model and everything that belongs to it."""
    with console.session(json) as out, out.viscnn() as viscnn:
        viscnn.drop(model, advise=out.say)
        out.result({"dropped": model}, f"{model} is removed")


@app.command()
def query(
    text: Annotated[str, typer.Argument(metavar="EXPR", help="Input expression, such as 'three - overall'.")],
    model: ModelOption,
    output: Annotated[list[str] | None, typer.Option(help=f"{_OUTPUTS}; several in one pass over the images.")] = None,
    criterion: Annotated[list[str] | None, typer.Option(help=f"{_CRITERIA}; several in one pass.")] = None,
    max_images: MaxImages = 500,
    images: Images = None,
    workers: Workers = None,
    activate: Annotated[bool, typer.Option(help="Copy the scores to `score` of filters and kernels.")] = True,
    top: Annotated[int, typer.Option(min=1, help="Filters and kernels per layer that are printed.")] = 5,
    json: Json = False,
) -> None:
    """Score all filters and kernels for an input expression, and store the scores; the first query is activated."""
    from viscnn.reports import query_json, query_text

    with console.session(json) as out, out.viscnn() as viscnn:
        reports = viscnn.query_each(
            text,
            model=model,
            outputs=output or [None],
            criteria=criterion or ["taylor"],
            max_images=max_images,
            images=images,
            activate=activate,
            workers=workers,
            progress=out.progress,
        )
        out.notes(tuple(dict.fromkeys(note for report in reports for note in report.warnings)))
        found = [query_json(report, top=top) for report in reports]
        text = "\n\n".join(query_text(report, top=top) for report in reports)
        out.result(found[0] if len(found) == 1 else {"queries": found}, text)


@app.command()
def doctor(json: Json = False) -> None:
    """Say what this installation can do: versions, how kernels are scored, GPU, Java, server, folders."""
    from viscnn.doctor import report
    from viscnn.reports import doctor_json, doctor_text

    with console.session(json) as out:
        found = report()
        out.result(doctor_json(found), doctor_text(found))


@app.command()
def queries(model: ModelOption, json: Json = False) -> None:
    """List the saved queries of a model, newest first."""
    with console.session(json) as out, out.viscnn() as viscnn:
        found = viscnn.queries(model)
        columns = ["uid", "text", "images", "effectiveImages", "status", "active"]
        out.result({"queries": found}, console.table("Queries", columns, found) if found else "no queries are saved")


@app.command()
def activate(
    uid: Annotated[str, typer.Argument(help="uid of a saved query, or of a projection.")], json: Json = False
) -> None:
    """Copy a saved query's scores to `score` of filters and kernels, or a projection's places to the filters."""
    with console.session(json) as out, out.viscnn() as viscnn:
        if "/projection/" in uid:
            placed = viscnn.activate_projection(uid)
            out.result({"projection": uid, **placed}, f"{uid} is active: {placed['filters']:,} filters")
            return
        counts = viscnn.activate(uid)
        text = f"{uid} is active: {counts['filters']:,} filters, {counts['kernels']:,} kernels"
        out.result({"query": uid, **counts}, text)


@app.command()
def circuit(
    target: Annotated[str, typer.Argument(help=f"A filter's uid, or {_OUTPUTS}.")],
    model: ModelOption,
    input: Annotated[str, typer.Option(help="Input expression of the query that scores.")] = "overall",  # noqa: A002
    keep: Annotated[float, typer.Option(help="Share of the kernels upstream of the target, in (0, 1].")] = 0.1,
    criterion: Annotated[str, typer.Option(help=f"{_CRITERIA}.")] = "taylor",
    scale: Annotated[str | None, typer.Option(help="How layers are compared: sum, layer-l2 or raw.")] = None,
    excitatory: Annotated[bool, typer.Option(help="Signed criteria: only kernels that raise the target.")] = False,
    ablation: Annotated[str, typer.Option(help="What removed kernels read: zero, mean or resample.")] = "zero",
    max_images: MaxImages = 500,
    check_images: Annotated[int, typer.Option(min=0, help="At most so many check images; 0 for all.")] = 200,
    images: Images = None,
    json: Json = False,
) -> None:
    """Extract a connected circuit that reaches a target, verify it on check images, and store it."""
    from viscnn.reports import circuit_json, circuit_text

    with console.session(json) as out, out.viscnn() as viscnn:
        report = viscnn.circuit(
            target,
            model=model,
            input=input,
            keep=keep,
            criterion=criterion,
            scale=scale,
            excitatory=excitatory,
            ablation=ablation,
            max_images=max_images,
            check_images=check_images,
            images=images,
            progress=out.progress,
        )
        out.notes(report.warnings)
        out.result(circuit_json(report), circuit_text(report))


@app.command()
def circuits(model: ModelOption, json: Json = False) -> None:
    """List the stored circuits of a model with their evidence, newest first."""
    with console.session(json) as out, out.viscnn() as viscnn:
        found = viscnn.circuits(model)
        columns = ["uid", "target", "keptFraction", "kernels", "pearson", "pearsonRandom", "pearsonWorst"]
        out.result(
            {"circuits": found}, console.table("Circuits", columns, found) if found else "no circuits are stored"
        )


@app.command()
def replay(
    model: Annotated[str, typer.Argument(help="Name of a stored model.")],
    images: Annotated[int, typer.Option(min=1, help="Number of images to compare on.")] = 4,
    json: Json = False,
) -> None:
    """Rebuild the forward pass from what Neo4j holds and compare it with the model, layer by layer.

    The error of a layer is relative to its largest value; exit code 1 where one is above 1e-4.
    """
    with console.session(json) as out, out.viscnn() as viscnn:
        report = viscnn.replay(model, images=images, progress=out.progress)
        rows = [{"layer": layer, "relativeError": error} for layer, error in report.errors.items()]
        result = {"model": model, "layers": len(rows), "maxRelativeError": report.worst}
        title = f"Replay of {model}: {'exact' if report.exact else 'not exact'}, at most {report.worst:.2g} off"
        out.notes(report.notes)
        out.result(result, console.table(title, ["layer", "relativeError"], rows))
        if not report.exact:
            raise typer.Exit(1)


@app.command()
def cypher(
    name: Annotated[str | None, typer.Argument(help="Name of a query of the catalogue, such as top_kernels.")] = None,
    parameters: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Its parameters.")] = None,
    text: Annotated[str | None, typer.Option(help="Ad-hoc Cypher instead: one plain read.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the catalogue.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows at most.")] = 1000,
    timeout: Annotated[float, typer.Option(help="Seconds at most.")] = 20.0,
    json: Json = False,
) -> None:
    """Run a query of the catalogue, or ad-hoc Cypher (read-only, guarded)."""
    from viscnn.api import VISCNN
    from viscnn.cli_options import key_values

    with console.session(json) as out:
        if list_ or (name is None and text is None):
            found = [each for each in VISCNN.cypher_catalogue() if each["mode"] == "read"]
            out.result({"queries": found}, console.table("Catalogue", ["name", "title", "parameters"], found))
            return
        # with --text the first argument is a parameter too
        given = key_values([*([name] if text is not None and name else []), *(parameters or [])])
        with out.viscnn() as viscnn:
            if text is not None:
                table = viscnn.cypher_text(text, given, limit=limit, timeout=timeout)
            elif name is not None:
                table = viscnn.cypher(name, given, limit=limit, timeout=timeout)
            rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
            result = {"columns": list(table.columns), "rows": [list(row) for row in table.rows]}
            title = f"{len(rows)} rows{' (more exist: raise --limit)' if table.truncated else ''}"
            out.result({**result, "truncated": table.truncated}, console.table(title, list(table.columns), rows))


@app.command()
def ui(
    address: Annotated[str, typer.Option(help="Address to bind.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port; 8501 or the next free one by default.")] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Open the page; stays until Ctrl-C."""
    from viscnn.demo import serve

    with console.session(False) as out:
        serve(out, address=address, port=port, browser=browser)


@app.command()
def demo(
    port: Annotated[int | None, typer.Option(help="Port of the page.")] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Start Neo4j, ingest the bundled MNIST model, run a first query, open the page; Ctrl-C stops what it started."""
    from viscnn.demo import run

    with console.session(False) as out:
        run(out, port=port, browser=browser)


_UsageError: Any = typer.BadParameter.__base__  # typer exports its subclass only


register(app)
cli_filters.register(app)
cli_maps.register(app)
cli_compare.register(app)
cli_exemplars.register(app)
cli_images.register(app)
cli_diagram.register(app)
cli_visualize.register(app)


def main() -> None:
    """Entry point of the `viscnn` command; a wrong call is one line too."""
    command: Any = get_command(app)
    try:
        sys.exit(command.main(prog_name="viscnn", standalone_mode=False))
    except _UsageError as error:
        message = error.format_message()  # empty where the help was printed already
        sys.exit(console.fail(message, 2, as_json="--json" in sys.argv) if message else 2)
    except typer.Abort:
        sys.exit(console.fail("stopped", 1, as_json="--json" in sys.argv))


if __name__ == "__main__":
    main()
