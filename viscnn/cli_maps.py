"""Commands that show what the page draws of a network: maps on an image, and the kernels that a query chooses."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from viscnn import console
from viscnn.errors import ConfigError, InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from viscnn.subgraph import Subgraph

__all__ = ["register"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]
Image = Annotated[
    str,
    typer.Argument(
        help="A path of the model's image source, such as three/12.png, a file, or `visualization:UID`: what "
        "`viscnn visualize` has rendered."
    ),
]
SIDE = 256
"""The longer side of a map's picture in pixels, at least; each position is a square."""
_SIGNS = {-1: "inhibitory", 0: "mixed", 1: "excitatory"}
_COLUMNS = ["source", "target", "input", "score", "scaled", "sign", "signRatio"]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(activation)
    app.command(name="kernel-maps")(kernel_maps)
    app.command()(subgraph)


def activation(
    uid: Annotated[str, typer.Argument(help="uid of a filter, such as mnist/conv2/5.")],
    image: Image,
    out: Annotated[str | None, typer.Option(help="File for the map: .npy (values) or .png (red and blue).")] = None,
    json: Json = False,
) -> None:
    """Say what a filter does on an image: its pre-activation map Z, its largest unit and what that sees."""
    from viscnn.cli_options import input_image
    from viscnn.reports import receptive_text

    with console.session(json) as shown, shown.viscnn() as viscnn:
        _check_ending(out, (".npy", ".png"))
        found = viscnn.activation(uid, input_image(viscnn, uid.partition("/")[0], image))
        row, column = divmod(int(found.argmax()), found.shape[1])
        field = viscnn.receptive_field(uid, (row, column))
        if out is not None:
            _save(out, {"map": found})
        result = {"uid": uid, "image": image, **_range(found), "largest": {"row": row, "column": column}}
        result |= {"receptiveField": field.facts()} | ({} if out is None else {"file": out})
        lines = [f"{uid} on {image}: {_text(found)}", f"largest at {row},{column}; {receptive_text(uid, field)}"]
        shown.result(result, *lines, *_written(out))


def kernel_maps(
    source: Annotated[str, typer.Argument(help="uid of the filter or input channel that the kernel reads.")],
    target: Annotated[str, typer.Argument(help="uid of the filter that the kernel belongs to.")],
    image: Image,
    out: Annotated[
        str | None, typer.Option(help="File: .npy or .png for the edge map, .npz for both (`input` and `edge`).")
    ] = None,
    json: Json = False,
) -> None:
    """Say what a kernel does on an image: the map that it reads, and its edge map, without bias."""
    from viscnn.cli_options import input_image

    with console.session(json) as shown, shown.viscnn() as viscnn:
        _check_ending(out, (".npy", ".npz", ".png"))
        (found,) = viscnn.kernel_maps([(source, target)], input_image(viscnn, target.partition("/")[0], image))
        if out is not None:
            _save(out, {"edge": found.edge, "input": found.input})
        result: dict[str, Any] = {"source": source, "target": target, "image": image}
        result |= {"input": _range(found.input), "edge": _range(found.edge)} | ({} if out is None else {"file": out})
        lines = [f"{source} -> {target} on {image}", f"reads    {_text(found.input)}", f"edge map {_text(found.edge)}"]
        shown.result(result, *lines, *_written(out))


def subgraph(
    query: Annotated[str, typer.Argument(help="uid of a saved query; `viscnn queries` lists them.")],
    keep: Annotated[float, typer.Option(help="Share of all the model's kernels, in (0, 1].")] = 0.1,
    share: Annotated[
        float | None, typer.Option(help="Instead: the fewest kernels that hold this share of the total score.")
    ] = None,
    scale: Annotated[str, typer.Option(help="How layers are compared: sum, layer-l2 or raw.")] = "sum",
    limit: Annotated[int, typer.Option(min=0, help="Kernels at most, the strongest.")] = 20_000,
    top: Annotated[int, typer.Option(min=0, help="Kernels that are printed.")] = 10,
    out: Annotated[str | None, typer.Option(help="CSV file for all of these kernels.")] = None,
    json: Json = False,
) -> None:
    """List the kernels with the highest scores in a saved query: those that the page draws."""
    with console.session(json) as shown, shown.viscnn() as viscnn:
        _check_ending(out, (".csv",))
        found = viscnn.subgraph(query, keep=keep, share=share, scale=scale, limit=limit)
        kernels = _kernels(found)
        if out is not None:
            _write(out, kernels.to_csv(index=False).encode())
        rows = [{str(name): value for name, value in row.items()} for row in kernels.head(top).to_dict("records")]
        result = {"query": found.query, "model": found.model, **_counts(found), "top": rows}
        line = f"{len(kernels):,} of {found.total:,} kernels, {found.score_share:.1%} of the total score"
        parts = [(found.left_out, "left out by --limit"), (found.not_stored, "not stored")]
        parts.append((len(found.identities), "identities (addends of sums)"))
        line += "".join(f"; {count:,} {what}" for count, what in parts if count)
        shown.result(
            result | ({} if out is None else {"file": out}),
            f"{found.query}: {line}",
            console.table("strongest kernels", ["source", "target", "score", "sign"], rows),
            *_written(out),
        )


# -- what is told ------------------------------------------------------------------------------------------------------


def _range(values: "NDArray[np.float32]") -> dict[str, Any]:
    found = {"min": values.min(), "max": values.max(), "mean": values.mean(dtype="float64")}
    return {"size": list(values.shape)} | {name: float(value) for name, value in found.items()}


def _text(values: "NDArray[np.float32]") -> str:
    told = _range(values)
    size = " x ".join(map(str, told["size"]))
    return f"{size}, {told['min']:.4g} to {told['max']:.4g}, mean {told['mean']:.4g}"


def _counts(found: "Subgraph") -> dict[str, Any]:
    return {
        "kernels": len(found.kernels),
        "total": found.total,
        "leftOut": found.left_out,
        "notStored": found.not_stored,
        "scoreShare": found.score_share,
        "identities": len(found.identities),
        "identitiesLeftOut": found.identities_left_out,
    }


def _kernels(found: "Subgraph") -> "pd.DataFrame":
    """The kernels with the uids of their ends, the highest scaled score (signed criteria: the largest) first."""
    uids = found.filters["uid"].to_numpy()
    ends = {end: uids[found.kernels[end].to_numpy()] for end in ("source", "target")}
    return found.kernels.assign(**ends, sign=found.kernels["sign"].map(_SIGNS))[_COLUMNS]


# -- files -------------------------------------------------------------------------------------------------------------


def _check_ending(out: str | None, endings: Sequence[str]) -> None:
    """Before anything is computed: raises InputError."""
    if out is not None and Path(out).suffix.lower() not in endings:
        raise InputError(f"--out {out!r}: the name of the file ends in {' or '.join(endings)}")


def _save(out: str, maps: "dict[str, NDArray[np.float32]]") -> None:
    """The first of these maps as .npy or as a picture, or all of them as .npz."""
    import io

    import numpy as np
    from PIL import Image as Pictures

    from viscnn.colours import diverging

    first, buffer = next(iter(maps.values())), io.BytesIO()
    if out.lower().endswith(".npz"):
        np.savez(buffer, **cast(Any, maps))
    elif out.lower().endswith(".npy"):
        np.save(buffer, first)
    else:
        times = max(1, -(-SIDE // max(first.shape)))
        picture = diverging(first, float(np.abs(first).max()) or 1.0)
        Pictures.fromarray(picture.repeat(times, axis=0).repeat(times, axis=1)).save(buffer, "PNG")
    _write(out, buffer.getvalue())


def _write(out: str, content: bytes) -> None:
    try:
        Path(out).write_bytes(content)
    except OSError as error:
        raise ConfigError(f"cannot write {out!r}: {error.strerror}") from error


def _written(out: str | None) -> list[str]:
    return [] if out is None else [f"written to {out}"]
