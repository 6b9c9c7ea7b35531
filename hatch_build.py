"""Build hook: compile the native kernel into editable installations and wheels where a C++ compiler is found."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

FOLDER = "engine/native"


class NativeBuildHook(BuildHookInterface[Any]):
    """A wheel with the library is for one platform (any Python 3); one without it is for all, and works as well."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """`version` is `editable` or `standard`; an editable installation reads the library from the checkout."""
        if self.target_name != "wheel":
            return
        library = _builder(Path(self.root)).build()
        if library is None or version == "editable":
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform()}"
        build_data["force_include"][str(library)] = f"viscnn/{FOLDER}/{library.name}"


def _builder(root: Path) -> ModuleType:
    """The package's build.py, without importing the package, whose requirements are not here."""
    path = root / FOLDER / "build.py"
    spec = importlib.util.spec_from_file_location("viscnn_native_build", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _platform() -> str:
    """Of this machine; not manylinux, which promises to run on older systems and takes a repair tool."""
    return next(tag for tag in platform_tags() if not tag.startswith(("manylinux", "musllinux")))
