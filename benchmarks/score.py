"""What scoring costs: our whole pipeline, its scoring part and signed scores alone, against a plain forward + backward
and against the dissected convolution of the original tool.

    python benchmarks/score.py [--model vgg16] [--images 1] [--target filter] [--threads 1,2] [--tier numba] [--json]

In one run and interleaved (A B C A B C ...), for each number of threads:

    forwardBackward   forward and activation-only backward of the original module (workload.py)
    pipeline          forward, backward, all kernel and filter scores of one batch: what a query runs per batch
    scoring           its scoring part alone, from one recorded pass
    signed            the scoring part of `taylor-signed`
    dissected         the original tool's way (dissected.py); once, in a process of its own, where it takes gigabytes

Ratios are of minima. `scoringSpeedupOverDissected` compares what is added to the plain pass: (dissected -
forwardBackward) / scoring. `extraPeakMiB` is the pipeline's peak memory above that of the built model; peaks are taken
in processes of their own. The sparse limit counts 2 K K + 2 FLOP per kernel for every output position whose gradient
is not zero; `sparseLimitShare` is the time which that takes at the machine's peak over the time of `scoring`. The peak
is that of fused multiply-adds where the native tier can measure it, else that of a matrix product, which
`sparseLimitShareOfGemmPeak` always takes.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil
import torch

from benchmarks.dissected import dissected, dissected_scores
from benchmarks.measure import Growth, child_json, gemm_peak, interleaved, wait
from benchmarks.pipeline import Ours
from benchmarks.workload import Workload, forward_backward, tiny, workload
from viscnn.engine import edge_products, native
from viscnn.errors import ViscnnError

COPIES = 2.8  # of all edge maps, to be available: the original took 13 GB where one copy takes 6.4 GiB
ONCE = 2 * 2**30  # bytes of edge maps from which on the dissected form is run only once
DISSECTED_ROUNDS = 3
PEAK_TRIES = 4  # one that other work disturbs may read a tenth
ROWS = (
    *("pipelineSpeedupOverDissected", "scoringSpeedupOverDissected"),
    *("sparseLimitShare", "sparseLimitShareOfGemmPeak", "gemmPeakGflops", "fmaPeakGflops"),
)
MOST_DIFFERENCE = 1e-4  # between our scores and the dissected form's, as a share of the layer's largest


# --- one number of threads ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    model: str
    images: int
    target: str
    layer: str | None
    weights: str
    criterion: str
    device: str
    tier: str | None
    threads: tuple[int, ...]
    repeats: int
    dissected: bool

    def workload(self) -> Workload:
        """Network, images and target, the same in every process."""
        return workload(
            self.model,
            images=self.images,
            target=self.target,
            layer=self.layer,
            weights=self.weights,
            device=self.device,
        )

    def side(self, name: str) -> list[str]:
        """The command line of a process that runs one contender once, with the most threads."""
        layer = ["--layer", self.layer] if self.layer else []
        chosen = [f"--{key}={getattr(self, key)}" for key in ("model", "images", "target", "weights", "criterion")]
        return [*chosen, *layer, f"--device={self.device}", f"--threads={max(self.threads)}", f"--side={name}"]


def timed(options: Options, work: Workload, ours: Ours, *, dissecting: bool) -> dict[str, dict[str, float]]:
    """Minimum and median milliseconds per image by contender, with the threads now set."""
    contenders: dict[str, Callable[[], object]] = {
        "forwardBackward": lambda: forward_backward(work.module, work.images, work.goal),
        "pipeline": ours.pipeline(),
        "scoring": ours.scoring(),
        "signed": Ours(work, "taylor-signed").scoring(),
    }
    if dissecting:
        network = dissected(work.module)
        contenders["dissected"] = lambda: dissected_scores(network, work.images, work.goal)
    seconds = interleaved(contenders, rounds=options.repeats, most={"dissected": DISSECTED_ROUNDS})
    scale = 1000 / options.images
    return {
        name: {"min": min(each) * scale, "median": statistics.median(each) * scale} for name, each in seconds.items()
    }


def ratios(ms: dict[str, float]) -> dict[str, float | None]:
    """The ratios of the targets, from minima."""
    plain, by_hand = ms["forwardBackward"], ms.get("dissected")
    return {
        "scoringOverForwardBackward": ms["scoring"] / plain,
        "pipelineOverForwardBackward": ms["pipeline"] / plain,
        "signedOverForwardBackward": ms["signed"] / plain,
        "pipelineSpeedupOverDissected": None if by_hand is None else by_hand / ms["pipeline"],
        "scoringSpeedupOverDissected": None if by_hand is None else (by_hand - plain) / ms["scoring"],
    }


def limits(work: dict[str, float], scoring_ms: float, device: str) -> dict[str, float | None]:
    """How far scoring is from what the machine could do with the threads now set; FLOP and times per image."""
    matrix = gemm_peak(device)
    multiply_add = None
    if device == "cpu" and native.describe()[0]:
        multiply_add = max(native.fma_peak(torch.get_num_threads()) for _ in range(PEAK_TRIES))
    # a matrix product is made of multiply-adds: where it was faster, other work was in the way of the other measure
    limit_ms = work["sparse"] / max(multiply_add or 0.0, matrix) * 1000
    return {
        "gemmPeakGflops": matrix / 1e9,
        "fmaPeakGflops": None if multiply_add is None else multiply_add / 1e9,
        "sparseLimitMs": limit_ms,
        "sparseLimitShare": limit_ms / scoring_ms,
        "sparseLimitShareOfGemmPeak": work["sparse"] / matrix * 1000 / scoring_ms,
    }


def flop(ours: Ours) -> dict[str, float]:
    """Per image: of the convolutions' forward pass, of all edge maps' |map x gradient| and of those that count."""
    batch = ours.batch()
    forward = dense = sparse = 0.0
    for maps in batch.layers:
        layer, rows, columns = maps.layer, *maps.layer.kernel_size
        positions = layer.filters * layer.positions
        alive = 0 if maps.gradient is None else int(maps.gradient.count_nonzero()) / maps.images
        forward += positions * layer.inputs * 2 * rows * columns
        dense += positions * layer.inputs * (2 * rows * columns + 2)
        sparse += alive * layer.inputs * (2 * rows * columns + 2)
    return {"forward": forward, "dense": dense, "sparse": sparse}


def edge_map_bytes(ours: Ours) -> int:
    """Of one copy of all edge maps that the dissected form makes of the batch."""
    batch = ours.batch()
    floats = sum(each.filters * each.positions * each.inputs for each in batch.scored)
    return 4 * floats * len(batch.images)


# --- processes of their own --------------------------------------------------------------------------------------


def run_side(options: Options, name: str) -> dict[str, float | None]:
    """Seconds and peak MiB of a contender's first run; a tiny network has woken libraries and thread pools before."""
    torch.set_num_threads(max(options.threads))
    work, small = options.workload(), tiny(options.device)
    run, wake = _side(name, work, options.criterion), _side(name, small, options.criterion)
    del work, small  # what the contender has no use for does not count
    wake()
    began = time.perf_counter()
    with Growth(options.device) as growth:
        run()
        wait()
    return {"seconds": time.perf_counter() - began, "peakMiB": growth.mib}


def _side(name: str, work: Workload, criterion: str) -> Callable[[], object]:
    if name == "pipeline":
        return Ours(work, criterion).pipeline()
    if name == "dissected":
        return partial(dissected_scores, dissected(work.module), work.images, work.goal)
    return partial(forward_backward, work.module, work.images, work.goal)


# --- the whole run -----------------------------------------------------------------------------------------------


def measured(options: Options) -> dict[str, Any]:
    """Everything, as `--json` prints it."""
    if options.tier:
        os.environ["VISCNN_TIER"] = options.tier
    work = options.workload()
    ours = Ours(work, options.criterion)
    result: dict[str, Any] = {
        "model": options.model,
        "images": options.images,
        "target": options.target if work.goal.layer is None else f"{work.goal.layer}/{work.goal.channel}",
        "criterion": ours.criterion.text,
        "weights": work.weights,
        "photographs": work.photographs,
        "device": options.device,
        "tier": edge_products.tier_of(work.images),
        "threads": max(options.threads),
    }
    size = edge_map_bytes(ours)
    reason = _left_out(options, size)
    many = reason is None and size < ONCE
    sides = ["forwardBackward", "pipeline", *(["dissected"] if reason is None else [])]
    peaks = {name: child_json(__file__, options.side(name)) for name in sides}
    result["extraPeakMiB"] = peaks["pipeline"]["peakMiB"]
    result["peakMiB"] = {name: each["peakMiB"] for name, each in peaks.items()}
    result["dissectedLeftOut"] = reason
    result["kernelDifference"] = difference(work, ours) if many else None
    count = flop(ours)
    result |= {f"{key}Gflop": value / 1e9 for key, value in count.items()}
    result["byThreads"] = {}
    for threads in sorted(options.threads):
        torch.set_num_threads(threads)
        times = timed(options, work, ours, dissecting=many)
        if reason is None and not many and threads == max(options.threads):
            once = peaks["dissected"]["seconds"] * 1000 / options.images
            times["dissected"] = {"min": once, "median": once}
        ms = {name: each["min"] for name, each in times.items()}
        found = ratios(ms) | limits(count, ms["scoring"], options.device)
        medians = {name: each["median"] for name, each in times.items()}
        result["byThreads"][str(threads)] = found | {"msPerImage": ms, "medianMsPerImage": medians}
    result |= result["byThreads"][str(max(options.threads))]
    return result


def _left_out(options: Options, size: int) -> str | None:
    """Why the dissected form is not run, if it is not."""
    if not options.dissected:
        return "--no-dissected"
    if options.device != "cpu":
        return "measured on the CPU only"
    if options.criterion != "taylor":
        return "it computes taylor only"
    needed, there = COPIES * size / 2**30, psutil.virtual_memory().available / 2**30
    return f"it needs about {needed:.1f} GiB, and {there:.1f} GiB are available" if there < needed else None


def difference(work: Workload, ours: Ours) -> float:
    """Largest difference of a kernel's score between ours and the dissected form's, as a share of its layer's largest.

    Raises:
        SystemExit: they are not the same scores, so that there is no sense in timing them.
    """
    literal, shares = dissected_scores(dissected(work.module), work.images, work.goal), []
    for layer, kernels in zip(ours.architecture.layers, ours.scores().kernels, strict=True):
        expected = literal[layer.name][0].double()
        largest = float(expected.abs().max())
        shares.append(float((torch.from_numpy(kernels) - expected).abs().max()) / (largest or 1.0))
    found = max(shares)
    if not found <= MOST_DIFFERENCE:
        raise SystemExit(f"our scores differ from the dissected form's by {found:.1e} of a layer's largest")
    return found


def table(result: dict[str, Any]) -> str:
    """For people."""
    lines = [
        "{model}, {images} image(s) ({photographs}), target {target}, {criterion}; weights: {weights}; "
        "{device}, tier {tier}".format(**result),
        f"{'ms per image':18}" + "".join(f"{n + ' thr: min':>16}{'median':>9}{'x fb':>8}" for n in result["byThreads"]),
    ]
    for name in result["msPerImage"]:
        cells = []
        for each in result["byThreads"].values():
            ms, plain = each["msPerImage"].get(name), each["msPerImage"]["forwardBackward"]
            median = each["medianMsPerImage"].get(name)
            cells.append(f"{'-':>16}{'':17}" if ms is None else f"{ms:16.2f}{median:9.2f}{ms / plain:8.2f}")
        lines.append(f"{name:18}" + "".join(cells))
    for key in ROWS:
        values = [each[key] for each in result["byThreads"].values()]
        lines.append(f"{key:29}" + "".join("         -" if each is None else f"{each:10.2f}" for each in values))
    flops = "GFLOP per image: {forwardGflop:.2f} convolutions forward, {denseGflop:.2f} all |map x gradient|, "
    lines.append((flops + "{sparseGflop:.2f} where the gradient is not zero").format(**result))
    peaks = ((name, each) for name, each in result["peakMiB"].items() if each is not None)
    lines.append("peak MiB above start: " + ", ".join(f"{name} {each:.0f}" for name, each in peaks))
    if result["kernelDifference"] is not None:
        lines.append(
            f"largest difference to the dissected form's scores: {result['kernelDifference']:.1e} of the largest"
        )
    if result["dissectedLeftOut"] is not None:
        lines.append(f"dissected form left out: {result['dissectedLeftOut']}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="alexnet", help="a torchvision network")
    parser.add_argument("--images", type=_count, default=4, help="images of the one batch")
    parser.add_argument("--target", choices=["loss", "filter"], default="loss")
    parser.add_argument("--layer", help="of the target filter (default: one of the fourth stage)")
    parser.add_argument("--weights", choices=["random", "data"], default="random", help="data: VGG-16's ImageNet trunk")
    parser.add_argument("--criterion", default="taylor", help="what pipeline and scoring compute")
    parser.add_argument("--threads", type=_numbers, default=(1, 2), help="such as 1,2")
    parser.add_argument("--tier", choices=["native", "numba", "torch"], help="instead of the best one")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--repeats", type=_count, default=9, help="rounds of all contenders")
    parser.add_argument("--no-dissected", dest="dissected", action="store_false")
    parser.add_argument("--side", choices=["forwardBackward", "pipeline", "dissected"], help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = vars(parser.parse_args())
    side, as_json = arguments.pop("side"), arguments.pop("json")
    options = Options(**arguments)
    try:
        if side is not None:
            print(json.dumps(run_side(options, side)))
            return
        result = measured(options)
    except ViscnnError as error:
        raise SystemExit(str(error)) from error
    print(json.dumps(result) if as_json else table(result))


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(_count, text.split(",")))


if __name__ == "__main__":
    main()
