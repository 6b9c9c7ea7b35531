"""Models by name and from files: built with their own neighbours, always the same weights, clear errors."""

import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from viscnn.errors import ModelError
from viscnn.ingest.bundled import nets as bundled
from viscnn.ingest.zoo import BUNDLED, Recipe, build, model_name, parse_shape, weights_hash

MODEL = """
from torch import nn

def tiny():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))

def raises():
    raise RuntimeError("no luck\\ntoday")

def number():
    return 3

def needs(argument):
    return nn.Identity()

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 2, 1))

not_callable = 5
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MODEL, encoding="utf-8")
    return path


def first_weight(module: nn.Module) -> torch.Tensor:
    return next(module.parameters())


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_models(name: str) -> None:
    zoo = build(Recipe(name))
    entry = BUNDLED[name]
    assert (zoo.architecture, zoo.input_shape, zoo.classes) == (f"viscnn.{name}", entry.input_shape, entry.classes)
    assert (tuple(zoo.preprocess["mean"]), tuple(zoo.preprocess["std"])) == (entry.mean, entry.std)
    assert zoo.images == f"bundled:{name}"
    assert not zoo.module.training
    assert build(Recipe(name)).weights_hash == zoo.weights_hash
    with torch.no_grad():
        assert zoo.module(torch.zeros(1, *zoo.input_shape)).shape == (1, len(zoo.classes))


def test_random_weights_are_always_the_same_and_not_the_trained_ones() -> None:
    state = torch.random.get_rng_state()
    one, two = (build(Recipe("mnist", weights="random")) for _ in range(2))
    assert one.weights_hash == two.weights_hash != build(Recipe("mnist")).weights_hash
    assert torch.equal(torch.random.get_rng_state(), state)


def test_weights_of_a_file(tmp_path: Path) -> None:
    other = bundled.mnist()
    save_file(other.state_dict(), tmp_path / "w.safetensors")
    zoo = build(Recipe("mnist", weights=str(tmp_path / "w.safetensors")))
    assert zoo.weights_hash == weights_hash(other)


def test_the_hash_is_of_names_types_shapes_and_values() -> None:
    def net() -> nn.Module:
        module = nn.Linear(2, 3)
        module.load_state_dict({"weight": torch.arange(6.0).view(3, 2), "bias": torch.zeros(3)})
        return module

    assert weights_hash(net()) == weights_hash(net())
    changed, wrapped, reshaped = net(), nn.Sequential(net()), nn.Linear(3, 2)
    changed.get_parameter("bias").data[1] = 1e-30
    reshaped.load_state_dict({"weight": torch.arange(6.0).view(2, 3), "bias": torch.zeros(2)})
    hashes = {weights_hash(each) for each in (net(), net().double(), changed, wrapped, reshaped)}
    assert len(hashes) == 5


@pytest.mark.parametrize(
    ("name", "suggested"), [("mnis", "mnist"), ("cifar-10", "cifar10"), ("alexnett", "alexnet"), ("vgg-16", "vgg16")]
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, suggested: str) -> None:
    with pytest.raises(ModelError, match=f"no model is called '{name}'; did you mean .*{suggested}"):
        build(Recipe(name))


@pytest.mark.parametrize("function", ["tiny", "Net"])
def test_a_model_from_a_file(file: Path, function: str) -> None:
    source = f"{file}:{function}"
    one, two = (build(Recipe(source, input_shape=(1, 4, 4))) for _ in range(2))
    assert one.weights_hash == two.weights_hash  # seeded
    assert one.input_shape == (1, 4, 4)
    assert one.preprocess["mode"] == "L"
    assert one.architecture == ("Sequential" if function == "tiny" else "Net")
    assert (one.images, one.classes) == (None, ())
    assert model_name(source) == function


def test_models_built_at_the_same_time_have_the_same_weights(file: Path) -> None:
    expected = build(Recipe(f"{file}:tiny", input_shape=(1, 4, 4))).weights_hash
    found: list[str] = []
    recipes = [Recipe(f"{file}:tiny", input_shape=(1, 4, 4)), Recipe("mnist", weights="random")] * 8
    threads = [
        threading.Thread(target=lambda each=recipe: found.append(build(each).weights_hash)) for recipe in recipes
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found.count(expected), len(set(found))) == (8, 2)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{file}:tini", "has no function 'tini'; did you mean tiny"),
        ("{file}:not_callable", "has no function 'not_callable'"),
        ("{file}:", "has no function ''"),
        ("{file}:raises", "failed: RuntimeError: no luck today"),
        ("{file}:number", "returns int, not a torch.nn.Module"),
        ("{file}:needs", "failed: TypeError"),
        ("{file}", "not path/to/file.py:function"),
        ("{folder}/absent.py:tiny", "there is no file .*absent.py"),
        ("{folder}/notes.txt:tiny", "not path/to/file.py:function"),
        ("{folder}/broken.py:tiny", "cannot be imported: SyntaxError"),
        ("{folder}/stops.py:tiny", "cannot be imported: SystemExit"),
        ("{folder}/lacks.py:tiny", "cannot be imported: ModuleNotFoundError.*nonexistent_module"),
        (":tiny", "not path/to/file.py:function"),
    ],
)
def test_a_file_that_gives_no_model_is_refused(file: Path, source: str, message: str) -> None:
    folder = file.parent
    (folder / "broken.py").write_text("def tiny(:\n", encoding="utf-8")
    (folder / "stops.py").write_text("import sys\nsys.exit(3)\n", encoding="utf-8")
    (folder / "lacks.py").write_text("import nonexistent_module\n", encoding="utf-8")
    before = list(sys.path)
    with pytest.raises(ModelError, match=message) as caught:
        build(Recipe(source.format(file=file, folder=folder)))
    assert "\n" not in str(caught.value)
    assert sys.path == before


def _project(folder: Path, channels: int) -> Path:
    """A model file that imports `engine` and `ui` beside it, and one more only when it is called."""
    folder.mkdir()
    (folder / "engine.py").write_text(f"CHANNELS = {channels}\n", encoding="utf-8")
    (folder / "ui.py").write_text("SIZE = 3\n", encoding="utf-8")
    (folder / "late.py").write_text(f"PADDING = {channels}\n", encoding="utf-8")
    (folder / "model.py").write_text(
        "import engine\nfrom ui import SIZE\nfrom torch import nn\n\n"
        "def make():\n    from late import PADDING\n"
        "    return nn.Sequential(nn.Conv2d(1, engine.CHANNELS, SIZE, padding=PADDING))\n",
        encoding="utf-8",
    )
    return folder / "model.py"


def test_a_model_imports_its_own_neighbours_whatever_they_are_called(tmp_path: Path) -> None:
    for channels in (2, 5):  # a second project with neighbours of the same names gets its own
        file = _project(tmp_path / f"project{channels}", channels)
        module = build(Recipe(f"{file}:make", input_shape=(1, 4, 4))).module
        convolution = module.get_submodule("0")
        assert isinstance(convolution, nn.Conv2d)
        assert (convolution.out_channels, convolution.padding) == (channels, (channels, channels))
    assert not {"engine", "ui", "late"} & sys.modules.keys()
    import viscnn.engine.run

    assert "project" not in str(viscnn.engine.run.__file__)


def test_neighbours_do_not_replace_what_is_loaded_already(tmp_path: Path) -> None:
    file = _project(tmp_path / "project", 3)
    (tmp_path / "project" / "pickletools.py").write_text("", encoding="utf-8")
    import pickletools as loaded

    build(Recipe(f"{file}:make", input_shape=(1, 4, 4)))
    assert sys.modules["pickletools"] is loaded


def test_a_package_with_relative_imports_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "blocks.py").write_text("SIZE = 1\n", encoding="utf-8")
    (tmp_path / "model.py").write_text("from .blocks import SIZE\n", encoding="utf-8")
    with pytest.raises(ModelError, match="relative import"):
        build(Recipe(f"{tmp_path / 'model.py'}:make"))


def test_pretrained_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(ModelError, match=r"weights of squeezenet1_1 cannot be downloaded.*--weights random"):
        build(Recipe("squeezenet1_1"))


def test_a_torchvision_model_with_random_weights() -> None:
    zoo = build(Recipe("squeezenet1_1", weights="random"))
    assert zoo.weights_hash == build(Recipe("squeezenet1_1", weights="random")).weights_hash
    assert (zoo.architecture, zoo.input_shape, len(zoo.classes)) == ("torchvision.squeezenet1_1", (3, 224, 224), 1000)
    assert (zoo.preprocess["resize"], zoo.preprocess["mean"]) == (256, [0.485, 0.456, 0.406])


@pytest.mark.parametrize(
    "text", ["", "3x224", "3x224x224x1", "ax2x3", "0x8x8", "-1x8x8", "3 x 8 x 8", "²x8x8", "3x8.5x8"]
)
def test_a_malformed_input_size_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="is not CHANNELSxROWSxCOLUMNS"):
        parse_shape(text)


def test_an_input_size() -> None:
    assert parse_shape("3x224x160") == parse_shape("3X224X160") == (3, 224, 160)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe("mnist", mean=(0.1, 0.2)), "--mean needs 1 numbers"),
        (Recipe("mnist", std=(0.0,)), "--std must be positive"),
        (Recipe("mnist", std=(float("nan"),)), "--std must be finite"),
        (Recipe("mnist", mean=(float("inf"),)), "--mean must be finite"),
        (Recipe("mnist", weights="absent.pt"), "no weights file absent.pt"),
    ],
)
def test_settings_that_do_not_fit_are_refused(recipe: Recipe, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build(recipe)
