"""The parametrisation of an image, and the views of it that an optimiser sees, each against a literal form."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from viscnn.engine.preprocess import Preprocess
from viscnn.engine.visualize import spectrum
from viscnn.engine.visualize.views import JITTER, Normalisation, seen, views
from viscnn.errors import StoredDataError


@pytest.mark.parametrize("shape", [(1, 6, 8), (3, 7, 9), (5, 8, 5)])
def test_pixels_are_the_inverse_transform_of_the_scaled_coefficients(shape: tuple[int, int, int]) -> None:
    channels, rows, columns = shape
    coefficients = spectrum.start(["a"], shape, seed=1) * 40
    found = spectrum.pixels(coefficients, spectrum.spectrum_of(shape[1:], torch.device("cpu")), shape[1:])
    values = np.zeros(shape)
    whole = coefficients[0].double().numpy()
    for channel in range(channels):
        half = np.zeros((rows, columns // 2 + 1), dtype=complex)
        for row in range(rows):
            for column in range(columns // 2 + 1):
                frequency = math.hypot(min(row, rows - row) / rows, column / columns)
                scale = 1 / max(frequency, 1 / max(rows, columns))
                half[row, column] = complex(*whole[channel, row, column]) * scale
        values[channel] = np.fft.irfft2(half, s=(rows, columns), norm="ortho") / 4
    if channels == 3:  # lucid's constants
        root = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
        values = np.tensordot(root / np.linalg.norm(root, axis=0).max(), values, axes=1)
    np.testing.assert_allclose(found[0].numpy(), 1 / (1 + np.exp(-values)), atol=1e-5)


def test_the_start_is_nearly_grey_and_depends_on_seed_and_identity_alone() -> None:
    shape = (3, 16, 16)
    one, two = spectrum.start(["a", "b"], shape, seed=0)
    assert torch.equal(spectrum.start(["b"], shape, seed=0)[0], two)
    assert not torch.equal(one, two)
    assert not torch.equal(spectrum.start(["a"], shape, seed=1)[0], one)
    assert float(one.std()) == pytest.approx(0.01, rel=0.1)
    grey = spectrum.pixels(one[None], spectrum.spectrum_of((16, 16), torch.device("cpu")), (16, 16))
    assert float((grey - 0.5).abs().max()) < 0.05


def pixel_coordinates(view: torch.Tensor, rows: int, columns: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The matrix (2, 2) and shift (2,) of a view between pixels, x before y."""
    half = np.array([columns / 2, rows / 2])
    theta = view.double().numpy()
    return theta[:, :2] * half[:, None] / half[None], theta[:, 2] * half


@pytest.mark.parametrize(("rows", "columns"), [(224, 224), (28, 28), (32, 48)])
def test_views_turn_scale_and_move_in_proportion_to_the_image(rows: int, columns: int) -> None:
    found = views(400, (rows, columns), seed=0)
    reach = 6 * min(rows, columns) / 224
    scales, angles, moves = [], [], []
    for view in found:
        matrix, shift = pixel_coordinates(view, rows, columns)
        scale = math.sqrt(np.linalg.det(matrix))
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(2) * scale**2, atol=1e-6)
        scales.append(1 / scale)
        angles.append(math.degrees(math.atan2(matrix[1, 0], matrix[0, 0])))
        moves.append(shift)
    assert [min(scales), max(scales)] == pytest.approx([0.9, 1.1])
    assert [min(angles), max(angles)] == pytest.approx([-10, 10], abs=1e-3)
    far = np.abs(moves).max(axis=0)
    assert (far <= reach + 1e-5).all()
    assert (far >= 0.9 * reach).all()
    assert pytest.approx(12 / 224) == JITTER


def test_views_depend_on_the_seed_and_the_step_alone() -> None:
    assert torch.equal(views(20, (28, 28), seed=3)[:5], views(5, (28, 28), seed=3))
    assert not torch.equal(views(5, (28, 28), seed=4), views(5, (28, 28), seed=3))


def test_a_view_shows_the_image_moved_and_grey_beyond_its_border() -> None:
    images = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    same = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
    torch.testing.assert_close(seen(images, same), images)
    moved = torch.tensor([[1.0, 0, 2 * 2 / 8], [0, 1, 2 * -1 / 6]])  # looks 2 to the right, 1 up
    expected = torch.full_like(images, 0.5)
    expected[:, :, 1:, :-2] = images[:, :, :-1, 2:]
    torch.testing.assert_close(seen(images, moved), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_normalisation_is_the_models_own(mode: str) -> None:
    count = len(mode)
    how = Preprocess(mode=mode, scale=0.5, mean=(3.0, 2, 1)[:count], std=(2.0, 4, 8)[:count])  # type: ignore[arg-type]
    pixels = torch.randint(0, 256, (2, 5, 4, count), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = pixels.permute(0, 3, 1, 2).float() / 255
    for made in (Normalisation.of(how), Normalisation.from_json(how.to_json())):
        torch.testing.assert_close(made.apply(images), how.normalise(pixels), atol=1e-4, rtol=1e-5)


def test_any_number_of_channels_can_be_normalised() -> None:
    made = Normalisation.from_json('{"scale": 0.01, "mean": [0, 1, 2, 3, 4], "std": [1, 1, 1, 1, 2]}')
    found = made.apply(torch.ones(1, 5, 1, 1))
    np.testing.assert_allclose(found.numpy().ravel(), [2.55, 1.55, 0.55, -0.45, -0.725], rtol=1e-5)
    with pytest.raises(StoredDataError, match="preprocess"):
        Normalisation.from_json('{"scale": 1}')
