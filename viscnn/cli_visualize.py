"""The command that renders feature visualisations."""

import re
import shutil
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viscnn import console
from viscnn.errors import InputError
from viscnn.progress import Progress

if TYPE_CHECKING:
    from viscnn.api import VISCNN
    from viscnn.engine.visualize.settings import Visualization

__all__ = ["register"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]
_TARGETS = "A filter's uid, a kernel 'UID -> UID', class:NAME, direction:LAYER[0:1,3:-1]...; may be given again."


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(visualize)


def visualize(
    model: Annotated[str, typer.Argument(help="Name of a stored model.")],
    layer: Annotated[list[str] | None, typer.Option(help="All its filters; may be given again.")] = None,
    filter: Annotated[list[str] | None, typer.Option(help=_TARGETS)] = None,  # noqa: A002
    objective: Annotated[str, typer.Option(help="channel (mean of the map) or neuron (its middle).")] = "channel",
    negative: Annotated[bool, typer.Option("--negative", help="The smallest activation, not the largest.")] = False,
    steps: Annotated[int, typer.Option(help="Of the optimiser.")] = 512,
    size: Annotated[int | None, typer.Option(help="Pixels a side; what the model takes by default.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same images on one machine.")] = 0,
    circuit: Annotated[str | None, typer.Option(help="Uid: rendered from the circuit's masked network.")] = None,
    backend: Annotated[str, typer.Option(help="own, or lucent (pip install 'viscnn[lucent]').")] = "own",
    out: Annotated[str | None, typer.Option(help="Folder to copy the PNG files to.")] = None,
    json: Json = False,
) -> None:
    """Render images that drive filters, kernels, directions or classes; all filters if none are named.

    What has been rendered is kept: after Ctrl-C, the same command goes on where it was.
    """
    with console.session(json) as shown, shown.viscnn() as viscnn:
        folder = _folder(out)
        settings: dict[str, Any] = {"objective": objective, "sign": -1 if negative else 1, "steps": steps}
        settings |= {"size": size, "seed": seed, "circuit": circuit, "backend": backend}
        found = []
        for each in _rendered(viscnn, model, layer or [], filter or [], settings, shown.progress):
            if folder is not None:
                shutil.copyfile(each.file, _made(folder / _file_name(each)))
            found.append(each.properties() | ({} if folder is None else {"copy": str(folder / _file_name(each))}))
        shown.result({"model": model, "visualizations": found}, _text(model, found, folder))


def _rendered(
    viscnn: "VISCNN",
    model: str,
    layers: list[str],
    targets: list[str],
    settings: dict[str, Any],
    progress: Progress,
) -> "Iterator[Visualization]":
    if not layers and not targets:
        layers = _all_layers(viscnn, model, settings["circuit"])
    runs = []  # names are looked up for all of them before anything is rendered
    for number, layer in enumerate(layers, 1):

        def told(step: str, done: int, total: int, layer: str = layer, number: int = number) -> None:
            place = f" ({number} of {len(layers)} layers)" if len(layers) > 1 else ""
            progress(f"{step} of {layer}{place}", done, total)

        runs.append(viscnn.visualize_layer(model, layer, progress=told, **settings))
    if targets:
        runs.append(viscnn.visualize_each(targets, model=model, progress=progress, **settings))
    yield from chain.from_iterable(runs)


def _all_layers(viscnn: "VISCNN", model: str, circuit: str | None) -> list[str]:
    """The layers of a model, or of a circuit, in the order of execution."""
    names = [str(each["name"]) for each in viscnn.layers(model) if each["name"] != "input"]
    if circuit is None:
        return names
    rows = viscnn.cypher("read/circuit_inputs", {"uid": circuit}, limit=10**7, timeout=120.0).rows
    within = {str(row[0]).removeprefix(f"{model}/").rpartition("/")[0] for row in rows}
    return [name for name in names if name in within] or names[:1]  # of no circuit: the first one tells


def _folder(out: str | None) -> Path | None:
    if out is None:
        return None
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out!r} is no folder that can be written to: {error.strerror}") from error
    return Path(out)


def _file_name(found: "Visualization") -> str:
    """`conv2/5.png` of a filter, with `-neuron` and `-negative`; other targets are one name."""
    marks = ("-neuron" if found.objective == "neuron" else "") + ("-negative" if found.sign < 0 else "")
    owner, _, rest = found.target.partition("/")
    layer, slash, channel = rest.rpartition("/")
    if owner == found.model and slash and channel.isdigit() and "->" not in rest:
        return f"{_plain(layer)}/{channel}{marks}.png"
    return f"{_plain(found.target)}{marks}.png"


def _plain(name: str) -> str:
    return re.sub(r"[^\w.#@,-]+", "_", name).strip("_.") or "_"


def _made(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def _text(model: str, found: list[dict[str, Any]], folder: Path | None) -> Any:
    new = sum(not each["cached"] for each in found)
    if len(found) == 1:
        (one,) = found
        where = one.get("copy", one["file"])
        state = "from the cache" if one["cached"] else f"{one['seconds']:.1f} s"
        return f"{one['target']}: activation {one['activation']:.4g}, {state}; {where}"
    where = f"copied to {folder}" if folder else "in the cache (--out FOLDER copies them)"
    return f"{len(found)} visualisations of {model}, {new} of them rendered now; {where}"
