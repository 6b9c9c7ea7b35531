"""Pages that are made from the code are up to date, and the commands that the README names exist."""

import re

import typer
from typer.main import get_command

from viscnn.cli import app
from viscnn.commands_page import as_markdown as commands_page
from viscnn.queries import as_markdown as queries_page

from .sources import ROOT


def test_the_query_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "queries.md").read_text(encoding="utf-8") == queries_page()


def test_the_command_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == commands_page()


def test_every_command_and_option_that_the_docs_use_exists() -> None:
    group = get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    commands = dict(group.commands)
    server = commands["server"]
    assert isinstance(server, typer.core.TyperGroup)
    commands |= {f"server {name}": command for name, command in server.commands.items()}
    used = 0
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for line in re.findall(r"(?:^    |`)viscnn ([^`\n]+)", page.read_text(encoding="utf-8"), re.MULTILINE):
            words = line.split()
            name = " ".join(words[:2]) if words[0] == "server" else words[0]
            assert name in commands, f"{page.name}: viscnn {line}"
            known = {option for parameter in commands[name].params for option in parameter.opts}
            options = {word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word)}
            assert options <= known | {f"--no-{each[2:]}" for each in known}, f"{page.name}: viscnn {line}"
            used += 1
    assert used >= 10


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
