"""The page `docs/commands.md`, made from the command line itself: `python -m viscnn.commands_page`."""

from typing import Any

from typer.main import get_command

from viscnn.cli import app

__all__ = ["as_markdown"]

_LEFT_OUT = {"help", "json"}


def as_markdown() -> str:
    """All commands with their arguments, options and defaults."""
    lines = [
        "# Commands",
        "",
        "Made from `viscnn/cli.py` by `python -m viscnn.commands_page`; do not edit.",
        "",
        "Every command but `ui` and `demo` takes `--json`: one JSON object on standard output, nothing else.",
        'A failing command prints one line on standard error; with `--json` also `{"error": ..., "exitCode": ...}`.',
        "Exit codes: 0 done, 2 the caller's mistake, 1 anything else.",
        "",
    ]
    group: Any = get_command(app)
    for name, command in group.commands.items():
        for title, each in _flat(name, command):
            lines += _section(title, each)
    return "\n".join(lines).rstrip() + "\n"


def _flat(name: str, command: Any) -> list[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    return [(name, command)] if inner is None else [(f"{name} {key}", each) for key, each in inner.items()]


def _section(title: str, command: Any) -> list[str]:
    lines = [f"## `viscnn {title}`", "", (command.help or "").strip(), ""]
    rows = [_row(parameter) for parameter in command.params if parameter.name not in _LEFT_OUT]
    if rows:
        lines += ["| argument or option | default | meaning |", "| --- | --- | --- |", *rows, ""]
    return lines


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        names = parameter.metavar or parameter.name.upper()
    else:
        names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    default = parameter.default
    shown = "" if default is None or callable(default) or parameter.required else f"`{default}`"
    return f"| `{names}` | {shown} | {(parameter.help or '').replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    print(as_markdown(), end="")
