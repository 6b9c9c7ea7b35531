"""Models of the user's own: built with their own neighbours, always the same weights, clear errors."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from viscnn.config import Connection
from viscnn.errors import ModelError
from viscnn.ingest.zoo import Recipe, build, model_name

MODEL = """
from torch import nn

def tiny():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))

def raises():
    raise RuntimeError("no luck\\ntoday")

def number():
    return 3

def needs(argument, other=1, *more, key):
    return nn.Identity()

def defaults(channels=2, *more, **others):
    return nn.Conv2d(3, channels, 1)

def pair():
    return tiny(), {"epoch": 3}

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 2, 1))

class Sized(nn.Sequential):
    def __init__(self, channels):
        super().__init__(nn.Conv2d(3, channels, 1))

made = Net()
not_callable = 5
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MODEL, encoding="utf-8")
    return path


def write(folder: Path, files: dict[str, str]) -> Path:
    """Files with their text below a folder, which is returned."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def first(source: Path, function: str = "make") -> nn.Conv2d:
    """The first convolution of a model of a file."""
    module = build(Recipe(f"{source}:{function}", input_shape=(1, 4, 4))).module
    return next(each for each in module.modules() if isinstance(each, nn.Conv2d))


@pytest.mark.parametrize("function", ["tiny", "Net", "made", "defaults"])
def test_a_model_from_a_file(file: Path, function: str) -> None:
    source = f"{file}:{function}"
    state = torch.random.get_rng_state()
    one, two = (build(Recipe(source, input_shape=(1, 4, 4))) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert one.weights_hash == two.weights_hash  # seeded
    assert one.input_shape == (1, 4, 4)
    assert one.preprocess["mode"] == "L"
    assert one.architecture == {"tiny": "Sequential", "defaults": "Conv2d"}.get(function, "Net")
    assert (one.images, one.classes) == (None, ())
    assert not one.module.training
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
        ("{file}:pair", r"returns a tuple \(Sequential, dict; write a function that returns the module alone\)"),
        ("{file}:needs", "needs needs argument, key; give every argument a default"),
        ("{file}:Sized", "Sized needs channels; give every argument a default"),
        ("{file}", "not path/to/file.py:function"),
        ("{folder}/absent.py:tiny", "there is no file .*absent.py"),
        ("{folder}/notes.txt:tiny", "not path/to/file.py:function"),
        ("{folder}/broken.py:tiny", "cannot be imported: SyntaxError"),
        ("{folder}/stops.py:tiny", "cannot be imported: SystemExit"),
        ("{folder}/lacks.py:tiny", "cannot be imported: ModuleNotFoundError.*nonexistent_module"),
        ("{folder}/above.py:tiny", "cannot be imported: ImportError.*beyond top-level package"),
        (":tiny", "not path/to/file.py:function"),
    ],
)
def test_a_file_that_gives_no_model_is_refused(file: Path, source: str, message: str) -> None:
    folder = file.parent
    (folder / "broken.py").write_text("def tiny(:\n", encoding="utf-8")
    (folder / "stops.py").write_text("import sys\nsys.exit(3)\n", encoding="utf-8")
    (folder / "lacks.py").write_text("import nonexistent_module\n", encoding="utf-8")
    (folder / "above.py").write_text("from ..mine import tiny\n", encoding="utf-8")
    before = list(sys.path)
    with pytest.raises(ModelError, match=message) as caught:
        build(Recipe(source.format(file=file, folder=folder)))
    assert "\n" not in str(caught.value)
    assert sys.path == before


def _project(folder: Path, channels: int) -> Path:
    """A model file that imports `engine` and `ui` beside it, and one more only when it is called."""
    files = {
        "engine.py": f"CHANNELS = {channels}\n",
        "ui.py": "SIZE = 3\n",
        "late.py": f"PADDING = {channels}\n",
        "model.py": (
            "import engine\nfrom ui import SIZE\nfrom torch import nn\n\n"
            "def make():\n    from late import PADDING\n"
            "    return nn.Sequential(nn.Conv2d(1, engine.CHANNELS, SIZE, padding=PADDING))\n"
        ),
    }
    return write(folder, files) / "model.py"


def test_a_model_imports_its_own_neighbours_whatever_they_are_called(tmp_path: Path) -> None:
    for channels in (2, 5):  # a second project with neighbours of the same names gets its own
        convolution = first(_project(tmp_path / f"project{channels}", channels))
        assert (convolution.out_channels, convolution.padding) == (channels, (channels, channels))
    assert not {"engine", "ui", "late"} & sys.modules.keys()
    import viscnn.engine.run

    assert "project" not in str(viscnn.engine.run.__file__)


def test_a_file_that_has_changed_is_read_again_and_so_are_its_neighbours(tmp_path: Path) -> None:
    for channels in (2, 15):  # of another length: Python trusts a compiled file of the same second and length
        assert first(_project(tmp_path / "project", channels)).out_channels == channels


def test_neighbours_do_not_replace_what_is_loaded_already(tmp_path: Path) -> None:
    file = _project(tmp_path / "project", 3)
    (tmp_path / "project" / "pickletools.py").write_text("", encoding="utf-8")
    import pickletools as loaded

    first(file)
    assert sys.modules["pickletools"] is loaded


def test_relative_imports_of_neighbours_and_of_packages_beside(tmp_path: Path) -> None:
    files = {
        "parts/__init__.py": "from .blocks import block\n",
        "parts/blocks.py": "from .deep.sizes import SIZE\nfrom torch import nn\n\n"
        "def block():\n    return nn.Conv2d(1, 4, SIZE)\n",
        "parts/deep/sizes.py": "SIZE = 5\n",
        "settings.py": "PADDING = 7\n",
        "absolute.py": "from parts import block\n\ndef make():\n    return block()\n",
        "relative.py": "from .parts import block\nfrom . import settings\n\n"
        "def make():\n    made = block()\n    made.padding = (settings.PADDING,) * 2\n    return made\n",
        "my-net v2.0.py": "from .absolute import make\n",
    }
    folder = write(tmp_path, files)
    assert first(folder / "absolute.py").kernel_size == (5, 5)
    assert first(folder / "relative.py").padding == (7, 7)
    assert first(folder / "my-net v2.0.py").kernel_size == (5, 5)
    assert not {"parts", "parts.blocks", "settings"} & sys.modules.keys()


def test_a_module_of_a_package_is_imported_as_one(tmp_path: Path) -> None:
    files = {
        "engine/__init__.py": "CHANNELS = 6\n",
        "engine/nets/__init__.py": "from .model import make\n",
        "engine/nets/model.py": "from torch import nn\nfrom .. import CHANNELS\n"
        "from engine.common.sizes import SIZE\n\n"
        "def make():\n    from ..common.sizes import SIZE as again\n    return nn.Conv2d(1, CHANNELS, SIZE + again)\n",
        "engine/common/sizes.py": "SIZE = 2\n",
    }
    folder = write(tmp_path, files)
    for name in ("model.py", "__init__.py"):
        made = first(folder / "engine" / "nets" / name)
        assert (made.out_channels, made.kernel_size) == (6, (4, 4))
    assert "engine" not in sys.modules


def test_modules_of_the_library_that_a_file_imports_stay(tmp_path: Path) -> None:
    """A file in a folder that also holds a Python installation: what is below is not beside."""
    library = write(tmp_path / "lib" / "deep", {"viscnn_test_library.py": "SIZE = 2\n"})
    text = (
        f"import sys\nsys.path.append({str(library)!r})\nimport viscnn_test_library as library\n"
        "from torch import nn\n\ndef make():\n    return nn.Conv2d(1, 1, library.SIZE)\n"
    )
    file = write(tmp_path, {"model.py": text}) / "model.py"
    try:
        assert first(file).kernel_size == (2, 2)
        assert "viscnn_test_library" in sys.modules
        assert str(library) not in sys.path
    finally:
        sys.modules.pop("viscnn_test_library", None)


def _ingested(folder: Path, command: list[str]) -> dict[str, Any]:
    """What `viscnn ingest model.py:make` prints, run in a process of its own in the folder."""
    arguments = ["ingest", "model.py:make", "--name", "beside", "--input", "1x8x8", "--replace", "--json"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    run = subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)  # type: ignore[no-any-return]


def test_the_command_line_run_beside_modules_of_the_same_names_as_ours(tmp_path: Path, server: Connection) -> None:
    from viscnn import VISCNN

    trap = "raise ImportError('the user did not ask for this')\n"
    folder = _project(tmp_path / "project", 3).parent
    write(folder, {"ingest.py": trap, "cypher.py": trap, "config.py": trap, "graph.py": trap})
    command = str(Path(sys.executable).with_name("viscnn"))
    # as a module it runs with the folder on Python's path; a viscnn.py there would be Python's own choice
    for name, start in (("module", [sys.executable, "-m", "viscnn"]), ("command", [command])):
        if name == "command":
            write(folder, {"viscnn.py": trap})
        report = _ingested(folder, start)
        assert (report["model"], report["layers"], report["filters"], report["kernels"]) == ("beside", 1, 3, 3), name
    with VISCNN() as session:
        session.drop("beside")
