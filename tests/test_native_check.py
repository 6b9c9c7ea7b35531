"""The native kernel without Python: under the compiler's sanitisers, and on an emulated ARM processor (NEON)."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.sources import ROOT
from viscnn.engine.native import build

FOLDER = ROOT / "engine" / "native"
PLAIN = ("library.cpp", "plan.cpp", "threads.cpp")


def compiled(compiler: list[str], machine: str, where: Path) -> Path:
    """tests/native_check.cpp with the kernel for a machine."""
    options = ["-std=c++17", "-O1", "-g", f"-I{FOLDER}", "-pthread"]
    objects = []
    for name, (lanes, registers, flags) in build._VARIANTS[machine].items():
        objects.append(where / f"{name}.o")
        defined = [f"-DVARIANT={name}", f"-DLANES={lanes}", f"-DREGISTERS={registers}", *flags]
        source = ["-c", str(FOLDER / "variant.cpp"), "-o", str(objects[-1])]
        subprocess.run([*compiler, *options, *defined, *source], check=True, timeout=200)
    sources = [str(FOLDER / name) for name in PLAIN]
    program = where / "check"
    linked = [*sources, str(ROOT / "tests" / "native_check.cpp"), *map(str, objects), "-o", str(program)]
    subprocess.run([*compiler, *options, *linked], check=True, timeout=200)
    return program


def outcome(command: list[str]) -> list[str]:
    """The variants that ran and were right."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.split()[0] for line in done.stdout.splitlines()]


def test_under_sanitisers(tmp_path: Path) -> None:
    machine, compiler = build._machine(), build._compiler()
    if compiler is None or platform.system() != "Linux" or machine not in build._VARIANTS:
        pytest.skip("needs a C++ compiler on Linux")
    sanitisers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    probe = tmp_path / "probe.cpp"
    probe.write_text("int main() {}")
    if subprocess.run([*compiler, *sanitisers, str(probe), "-o", str(tmp_path / "probe")], check=False).returncode:
        pytest.skip("the C++ compiler has no sanitisers")
    assert outcome([str(compiled([*compiler, *sanitisers], machine, tmp_path))])


def test_on_an_emulated_arm_processor(tmp_path: Path) -> None:
    compiler, emulator = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64")
    if compiler is None or emulator is None:
        pytest.skip("needs aarch64-linux-gnu-g++ and qemu-aarch64 (apt: g++-aarch64-linux-gnu qemu-user)")
    assert outcome([emulator, str(compiled([compiler, "-static"], "aarch64", tmp_path))]) == ["neon"]
