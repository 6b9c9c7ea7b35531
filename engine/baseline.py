"""The mean image of `overall`: what criteria that compare an image with nothing in particular compare with."""

import hashlib
import json

import torch
from torch import Tensor

from viscnn.config import cache_folder
from viscnn.engine.bundle import Bundle
from viscnn.engine.images import OVERALL, images_hash
from viscnn.engine.loading import stream
from viscnn.engine.sums import read_arrays, write_arrays

__all__ = ["baseline_hash", "mean_image"]

MOST_IMAGES = 500


def mean_image(bundle: Bundle) -> Tensor:
    """Mean over at most 500 images of the score part of `overall`, preprocessed: float32 (C, H, W); kept on disk.

    Raises:
        ImagesError: none of them can be decoded.
    """
    key = json.dumps([baseline_hash(bundle), bundle.preprocess.to_json()])
    file = cache_folder() / "baselines" / f"{hashlib.sha256(key.encode()).hexdigest()}.npz"
    stored = read_arrays(file)
    if stored is not None and stored.get("mean", torch.zeros(0).numpy()).shape == bundle.architecture.input_shape:
        return torch.from_numpy(stored["mean"])
    total, count = torch.zeros(bundle.architecture.input_shape, dtype=torch.float64), 0
    for _, images in stream(bundle.collection, _indices(bundle), bundle.preprocess, batch_size=32):
        total += images.double().sum(dim=0)
        count += len(images)
    mean = (total / count).float()
    write_arrays(file, {"mean": mean.numpy()})
    return mean


def baseline_hash(bundle: Bundle) -> str:
    """A hash of the images whose mean it is."""
    return images_hash([bundle.collection.items[index] for index in _indices(bundle)])


def _indices(bundle: Bundle) -> tuple[int, ...]:
    return bundle.collection.select(OVERALL, "score", MOST_IMAGES, required=True)
