"""Every CNN builder of torchvision proven by replay, and the page `docs/architectures.md` made of the results.

    python benchmarks/replay_table.py [NAME ...] [--rows | --neo4j] [--results FILE] [--page FILE] [--again]

Each builder is replayed from the row stream, and one of each family also through Neo4j (NEO4J_URI, else the managed
server, which is started if needed). Results are kept in a file (by default in the cache folder) after every builder: a
stopped run goes on where it was. With --again what is there is proven anew. The page is written when all are done.
"""

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import torchvision

from viscnn.config import cache_folder
from viscnn.engine.replay import TOLERANCE
from viscnn.ingest import zoo_torchvision

PAGE = Path(__file__).parents[1] / "docs" / "architectures.md"
PROOF = Path(__file__).with_name("replay_proof.py")
MOST_STORED = 15_000_000
THROUGH_NEO4J = (
    "squeezenet1_0",
    "alexnet",
    "shufflenet_v2_x1_0",
    "resnet18",
    "vgg16",
    "mobilenet_v2",
    "mnasnet1_0",
    "googlenet",
    "mobilenet_v3_large",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "efficientnet_b0",
    "densenet121",
    "inception_v3",
    "resnet50",
)
"""At least one of each family, as far as it has one of up to `MOST_STORED` kernels; the smallest first."""

Results = dict[str, dict[str, Any]]
"""By `NAME rows` and `NAME neo4j`, what `replay_proof.py` printed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="builders; by default all of them")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--rows", action="store_true", help="only from the row stream")
    kind.add_argument("--neo4j", action="store_true", help="only through Neo4j")
    parser.add_argument("--results", type=Path, help="JSON file where results are kept")
    parser.add_argument("--page", type=Path, default=PAGE, help="Markdown file that is written when all are done")
    parser.add_argument("--again", action="store_true", help="prove anew what is in the results already")
    arguments = parser.parse_args()
    path = arguments.results or cache_folder() / "replay-table.json"
    wanted = [key for key in everything() if not arguments.names or key.partition(" ")[0] in arguments.names]
    wanted = [key for key in wanted if not (arguments.neo4j and key.endswith("rows"))]
    wanted = [key for key in wanted if not (arguments.rows and key.endswith("neo4j"))]
    for number, key in enumerate(wanted, start=1):
        if arguments.again or "failed" in results(path).get(key, {"failed": ""}):
            made = proven(key)
            path.write_text(json.dumps(results(path) | {key: made}, indent=1), encoding="utf-8")
            print(f"{number} of {len(wanted)}: {key}: {summary(made)}", file=sys.stderr)
    found = results(path)
    missing = [key for key in everything() if key not in found]
    if missing:
        print(f"{len(missing)} proofs are still to be done; the page is not written", file=sys.stderr)
    else:
        arguments.page.write_text(as_markdown(found), encoding="utf-8")


def builders() -> list[str]:
    """The classification CNNs of torchvision, by the zoo's own rule: no attention, not quantized, images."""
    return [each.name for each in zoo_torchvision.listed()]


def everything() -> list[str]:
    """Keys of all proofs, those from rows first."""
    return [f"{name} rows" for name in builders()] + [f"{name} neo4j" for name in THROUGH_NEO4J]


def results(path: Path) -> Results:
    """What was proven so far."""
    if not path.is_file():
        return {}
    found: Results = json.loads(path.read_text(encoding="utf-8"))
    return found


def proven(key: str) -> dict[str, Any]:
    """One proof, in a process of its own."""
    name, _, kind = key.partition(" ")
    command = [sys.executable, str(PROOF), name, *(["--neo4j"] if kind == "neo4j" else [])]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        last = run.stderr.strip().splitlines() or [f"exit code {run.returncode}"]
        return {"name": name, "failed": last[-1][:300]}
    made: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return made


def is_exact(made: dict[str, Any]) -> bool:
    """Whether all maps and the output are; where single precision is too coarse to tell, double precision does."""
    maps = made.get("doubleError", made.get("error", float("inf")))
    output = made.get("outputDoubleError", made.get("outputError", float("inf")))
    return bool(maps <= TOLERANCE and output <= TOLERANCE)


def summary(made: dict[str, Any]) -> str:
    """One proof in a line."""
    if "refused" in made or "failed" in made:
        return str(made.get("refused") or made.get("failed"))
    return f"{made['error']:.1e}, output {made['outputError']:.1e}, {made['seconds']} s, {made['peakMiB']} MiB"


# --- the page ----------------------------------------------------------------------------------------------------


def as_markdown(found: Results) -> str:
    """The page: what is proven and how, and a table of all builders."""
    rows = [(found[f"{name} rows"], found.get(f"{name} neo4j")) for name in builders()]
    exact = sum(is_exact(made) and (stored is None or is_exact(stored)) for made, stored in rows)
    stored = sum(each is not None for _, each in rows)
    every = torchvision.models.list_models(module=torchvision.models)
    others = sorted(set(every) - set(builders()))
    lines = [
        "# Architectures",
        "",
        "Made by `python benchmarks/replay_table.py`; do not edit.",
        "",
        f"**{exact} of {len(rows)}** CNN builders of torchvision are exact: {exact / len(rows):.0%}.",
        "",
        *EXPLANATION.format(stored=stored, tolerance=TOLERANCE, most=MOST_STORED).strip().splitlines(),
        "",
        f"No CNNs, and not here: {', '.join(others)} (`viscnn ingest` refuses them by name).",
        "",
        f"torch {torch.__version__}, torchvision {torchvision.__version__}, {platform.machine()}, one thread.",
        "The seconds are those of both proofs, with other work on the machine.",
        "",
        "| builder | input | layers | sums | gates | kernels | proof | rows | Neo4j | output | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |",
        *(_row(made, stored) for made, stored in rows),
    ]
    return "\n".join(lines) + "\n"


EXPLANATION = """
A *replay* rebuilds the forward pass from what is stored alone: kernels, biases, geometry, feeds with their
operations, sums and gates; that every kernel and identity starts at the filter that the feeds say is checked. It is
compared with the model's own maps at every layer, on 4 images. The error of a layer is the largest difference, relative
to the layer's largest value; the table has that of the worst layer, and {tolerance:g} is still exact.

- *Neo4j*: the model was stored in a real Neo4j and replayed from there, as `viscnn replay` does: {stored} builders, at
  least one of each family as far as one has up to {most:,} kernels.
- *rows*: replayed from the rows that the loader would send, read as its Cypher reads them; all builders.
- *output*: the network that was read, with BatchNorms folded, against the builder's own module. Where single precision
  is too coarse to tell (random networks are ill-conditioned), also in double precision.

Weights are random (seed 0), BatchNorms have statistics that fit the maps of real images, and whatever a builder leaves
constant (scales, shifts, biases) is drawn at random, so that nothing that is lost goes unseen. *input* is the smallest
size in steps of 32 pixels at which every weight of every kernel meets a pixel, and not padding alone. *layers* are
convolutions and linear layers, without those behind the flattening; *gates* are those of them whose maps reach others
only as factors.
"""


def _row(made: dict[str, Any], stored: dict[str, Any] | None) -> str:
    for each in (made, stored or {}):
        if "refused" in each or "failed" in each:
            reason = str(each.get("refused") or each.get("failed")).replace("|", "\\|")
            return f"| {made['name']} | | | | | | refused: {reason} | | | | |"
    proof = "Neo4j" if stored else "rows"
    wrong = [each for each in (made, stored) if each is not None and not is_exact(each)]
    if wrong:
        maps = wrong[0].get("doubleError", wrong[0]["error"])
        proof = f"not exact: {wrong[0]['errorLayer'] if maps > TOLERANCE else 'output'}"
    cells = [
        made["name"],
        made["input"],
        made["layers"],
        made["sums"],
        made["gates"],
        f"{made['kernels']:,}",
        proof,
        _error(made["error"], made.get("doubleError")),
        _error(stored["error"]) if stored else "",
        _error(made["outputError"], made.get("outputDoubleError")),
        f"{(stored or made)['seconds']:.0f}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def _error(single: float, double: float | None = None) -> str:
    text = "0" if single == 0 else f"{single:.1e}"
    return text if double is None else f"{text} (double {double:.1e})"


if __name__ == "__main__":
    main()
