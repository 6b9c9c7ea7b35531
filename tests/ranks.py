"""Processes that share a task, started as torchrun or Slurm would; and, run as a module, what such a process does."""

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.sources import ROOT
from viscnn.config import Connection

SECONDS = 120
COMMAND = ("-m", "viscnn.engine.run")
BATCH = 2
"""Images that the functions score at a time."""

CRITERIA = ("taylor", "taylor-signed", "activation", "force(rounds=2)")


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    out: str
    err: str


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def surroundings(home: Path, connection: Connection | None = None) -> dict[str, str]:
    """Environment variables of a process: its data folder, and Neo4j if it may know of one."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("NEO4J", "VISCNN_HOME"))}
    env |= {"VISCNN_HOME": str(home), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    if connection is not None:
        env |= {"NEO4J_URI": connection.uri, "NEO4J_PASSWORD": connection.password}
    return env


def torchrun(size: int, arguments: Sequence[str], env: Mapping[str, str]) -> Ended:
    """The command in `size` processes of one machine, started by torchrun itself."""
    launcher = ("-m", "torch.distributed.run", f"--nproc-per-node={size}", "--master-addr=127.0.0.1")
    line = [sys.executable, *launcher, f"--master-port={free_port()}", *COMMAND, *arguments]
    run = subprocess.run(line, check=False, env=dict(env), cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
    return Ended(run.returncode, run.stdout, run.stderr)


def machines(envs: Sequence[Mapping[str, str]], arguments: Sequence[str]) -> list[Ended]:
    """`python ARGUMENTS` in a process for each of the environments, as if each were a machine of its own."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(len(envs))}
    started = [
        subprocess.Popen(
            [sys.executable, *arguments],
            env={**env, **meeting, "RANK": str(rank), "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, env in enumerate(envs)
    ]
    try:
        said = [process.communicate(timeout=SECONDS) for process in started]
    finally:
        for process in started:
            process.kill()
    return [Ended(process.returncode, out, err) for process, (out, err) in zip(started, said, strict=True)]


def commands(envs: Sequence[Mapping[str, str]], lines: Sequence[Sequence[str]]) -> list[list[Ended]]:
    """Several commands one after the other in the same processes; by line, then by process."""
    asked = [[free_port(), list(line)] for line in lines]
    ended = machines(envs, ["-m", "tests.ranks", "commands", json.dumps(asked)])
    assert all(each.code == 0 for each in ended), ended
    said = [json.loads(each.out) for each in ended]
    return [[Ended(**theirs[number]) for theirs in said] for number in range(len(lines))]


# --- in the processes --------------------------------------------------------------------------------------------


def _commands(text: str) -> None:
    """Run the real command line by line, each in a meeting of its own; print how each ended."""
    from viscnn.engine.distributed_run import main

    ended = []
    for port, line in json.loads(text):
        os.environ["MASTER_PORT"], sys.argv = str(port), ["run", *line]
        out, err, code = io.StringIO(), io.StringIO(), 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as error:
                code = int(str(error.code))
        ended.append({"code": code, "out": out.getvalue(), "err": err.getvalue()})
    print(json.dumps(ended))


def _functions(folder: str, result: str) -> None:
    """Scores and class profiles by function; with a stop in the midst, and what is in the cache of one only."""
    from viscnn.engine import streaming
    from viscnn.engine.distributed import processes

    streaming.BATCH_FLOATS = BATCH * 304  # values of all maps of a toy image
    with processes(backend="gloo") as group:
        found = Found(folder, group)
        for part in (found.scores, found.profiles, found.broken, found.resumed, found.half_cached, found.unlike):
            part()
    np.savez(f"{result}{group.rank}.npz", **found.arrays)


class Found:
    """What a process finds, as arrays by name."""

    def __init__(self, folder: str, group: Any) -> None:
        from tests import toy
        from viscnn.engine.scoring import Running

        self.arrays: dict[str, Any] = {}
        self._folder = Path(folder)
        self._bundle = toy.bundle_of(toy.toy_network(), self._folder / "sound")
        self._running = Running(group=group, workers=0)
        self._group = group

    def scores(self) -> None:
        for text, scores in zip(CRITERIA, scored(self._bundle, CRITERIA, self._running), strict=True):
            self._keep(text, scores)

    def profiles(self) -> None:
        from viscnn.engine.profiles import class_profiles

        found = class_profiles(self._bundle, everything(self._bundle), running=self._running)
        self.arrays |= {f"profiles/{number}": each for number, each in enumerate(found.filters)}
        self.arrays["profiles/images"] = found.images

    def broken(self) -> None:
        """All images of the second process are broken."""
        from tests import toy

        bundle = toy.bundle_of(toy.toy_network(), self._folder / "half")
        (scores,) = scored(bundle, ["taylor"], self._running)
        self._keep("broken", scores)

    def resumed(self) -> None:
        """Stop every process after some batches, another number in each; then go on."""
        from dataclasses import replace

        begun: list[int] = []

        def stop(step: str, done: int, total: int) -> None:
            if done > 4 * self._group.rank:
                raise KeyboardInterrupt

        def note(step: str, done: int, total: int) -> None:
            begun.append(done)

        with contextlib.suppress(KeyboardInterrupt):
            scored(self._bundle, ["gradient"], replace(self._running, progress=stop))
        (scores,) = scored(self._bundle, ["gradient"], replace(self._running, progress=note))
        self._keep("gradient", scores)
        self.arrays["begun"] = np.array(begun[0])

    def half_cached(self) -> None:
        """The first process has the scores already, the second has not."""
        if self._group.rank == 0:
            scored(self._bundle, ["weight"], None)
        (scores,) = scored(self._bundle, ["weight"], self._running)
        self._keep("weight", scores)
        self.arrays["cached"] = np.array([each.cached for each in scored(self._bundle, ["weight"], self._running)])

    def unlike(self) -> None:
        """The second process has other images."""
        from tests import toy
        from viscnn.errors import ImagesError

        bundle = toy.bundle_of(toy.toy_network(), self._folder / ("half" if self._group.rank else "sound"))
        try:
            scored(bundle, ["snip"], self._running)
        except ImagesError as error:
            self.arrays["unlike"] = np.array(str(error))

    def _keep(self, name: str, scores: Any) -> None:
        self.arrays |= {f"{name}/kernels{number}": each for number, each in enumerate(scores.kernels)}
        self.arrays |= {f"{name}/filters{number}": each for number, each in enumerate(scores.filters)}
        self.arrays |= {f"{name}/totals": scores.totals, f"{name}/skipped": np.array(sorted(scores.skipped))}


def everything(bundle: Any) -> tuple[int, ...]:
    """The score part of `overall`."""
    return tuple(bundle.collection.select("overall", "score"))


def scored(bundle: Any, criteria: Sequence[str], running: Any) -> tuple[Any, ...]:
    """Scores of all scoring images towards the loss."""
    from viscnn.engine.criteria import criterion_called
    from viscnn.engine.output import parse_output
    from viscnn.engine.scoring import Job, score_jobs
    from viscnn.engine.target import resolve

    target = resolve(parse_output("loss"), model="toy", architecture=bundle.architecture, classes=bundle.classes)
    jobs = [Job(target, criterion_called(each)) for each in criteria]
    return score_jobs(bundle, everything(bundle), jobs, running=running)


if __name__ == "__main__":
    if sys.argv[1] == "commands":
        _commands(sys.argv[2])
    else:
        _functions(*sys.argv[2:])
