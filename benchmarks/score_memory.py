"""Peak memory of scoring against a plain forward + backward, each in a process of its own (Linux).

    python benchmarks/score_memory.py [--model vgg16] [--criterion taylor] [--json]

Both sides build the model with random weights and run one noise image at the model's input size towards the loss;
the plain side takes gradients of all convolution outputs, as scoring does, and nothing more. Peaks are above what
the built model occupies.
"""

import argparse
import gc
import json
import subprocess
import sys
import time
from pathlib import Path


def reset_peak() -> None:
    """Forget the process's peak so far: building a model takes more than running it."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> float:
    """Largest resident set since `reset_peak`, in MiB."""
    (line,) = [row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def run_side(model: str, criterion: str | None) -> dict[str, float]:
    import torch

    from viscnn.engine.capture import record
    from viscnn.engine.criteria import LayerMaps, criterion_called
    from viscnn.ingest.architecture import read_architecture
    from viscnn.ingest.zoo import Recipe, build

    zoo = build(Recipe(model, weights="random"))
    architecture = read_architecture(zoo.module, zoo.input_shape)
    del zoo
    torch.manual_seed(0)
    image = torch.randn(1, *architecture.input_shape)
    gc.collect()
    reset_peak()
    before = peak_mib()
    began = time.perf_counter()
    recording = record(architecture, image)
    assert recording.output is not None
    total = torch.nn.functional.cross_entropy(recording.output, recording.output.argmax(dim=1))
    of_maps, of_activated = recording.gradients(total)
    if criterion is not None:
        chosen = criterion_called(criterion)
        with torch.no_grad():
            for layer in architecture.layers:
                maps = LayerMaps(
                    layer,
                    architecture.convolution(layer),
                    recording.inputs[layer.name],
                    recording.activated[layer.name],
                    of_maps[layer.name],
                    of_activated[layer.name],
                )
                chosen.kernel(maps)
                chosen.filter(maps)
    return {"peakMiB": peak_mib() - before, "seconds": time.perf_counter() - began}


def child(model: str, criterion: str | None) -> dict[str, float]:
    command = [sys.executable, __file__, "--model", model, "--side", criterion or "plain"]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vgg16")
    parser.add_argument("--criterion", default="taylor")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.side:
        side = None if arguments.side == "plain" else arguments.side
        print(json.dumps(run_side(arguments.model, side)))
        return
    plain, scored = child(arguments.model, None), child(arguments.model, arguments.criterion)
    result = {
        "model": arguments.model,
        "criterion": arguments.criterion,
        "plainPeakMiB": plain["peakMiB"],
        "scoringPeakMiB": scored["peakMiB"],
        "extraMiB": scored["peakMiB"] - plain["peakMiB"],
        "plainSeconds": plain["seconds"],
        "scoringSeconds": scored["seconds"],
        "secondsRatio": scored["seconds"] / plain["seconds"],
    }
    print(json.dumps(result) if arguments.json else "\n".join(f"{key:16} {value}" for key, value in result.items()))


if __name__ == "__main__":
    main()
