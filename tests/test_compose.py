"""The container files keep what they promise: this machine only, no default password, data that lasts, no root."""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CONTAINER_FILES = ("docker-compose.yml", "Dockerfile", ".env.example")
REQUIRED_PASSWORD = "${NEO4J_PASSWORD:?set NEO4J_PASSWORD in .env}"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The parsed docker-compose.yml."""
    parsed = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert isinstance(parsed, dict)
    return parsed


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile, with continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def test_every_port_is_published_on_this_machine_only(compose: dict[str, Any]) -> None:
    assert compose["services"]["neo4j"]["ports"] == ["127.0.0.1:7474:7474", "127.0.0.1:7687:7687"]
    assert compose["services"]["ui"]["ports"] == ["127.0.0.1:8501:8501"]
    assert [service for service in compose["services"].values() if "network_mode" in service] == []


def test_neo4j_is_the_community_edition_of_the_managed_server(compose: dict[str, Any]) -> None:
    from viscnn import server

    neo4j = compose["services"]["neo4j"]
    assert neo4j["image"] == f"neo4j:{server.VERSION}"
    assert not any("ACCEPT_LICENSE" in name for name in neo4j["environment"])


def test_the_settings_guard_neo4j(compose: dict[str, Any]) -> None:
    settings = compose["services"]["neo4j"]["environment"]
    assert settings["NEO4J_dbms_security_allow__csv__import__from__file__urls"] == "false"
    assert settings["NEO4J_dbms_usage__report_enabled"] == "false"
    for name in ("heap_initial__size", "heap_max__size", "pagecache_size"):
        assert settings[f"NEO4J_server_memory_{name}"][-1] in "gm"


def test_compose_stops_without_a_password_of_the_user(compose: dict[str, Any]) -> None:
    assert compose["services"]["neo4j"]["environment"]["NEO4J_AUTH"] == f"neo4j/{REQUIRED_PASSWORD}"
    assert compose["services"]["ui"]["environment"]["NEO4J_PASSWORD"] == REQUIRED_PASSWORD


@pytest.mark.parametrize("name", CONTAINER_FILES)
def test_no_file_holds_a_password(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "NEO4J_AUTH: none" not in text
    for line in text.replace(REQUIRED_PASSWORD, "").splitlines():
        if not line.lstrip().startswith("#") and "PASSWORD" in line:
            _, _, value = line.replace(":", "=").partition("=")
            assert value.strip() == "", f"{name}: {line}"


def test_the_env_file_is_in_no_commit_and_no_image() -> None:
    assert "/.env" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    assert "*" in ignored
    assert "!.env" not in ignored


def test_data_lasts_in_named_volumes(compose: dict[str, Any]) -> None:
    services = compose["services"]
    home = dict(line.split("=") for line in (ROOT / "Dockerfile").read_text().split() if line.startswith("VISCNN_HOME"))
    assert services["neo4j"]["volumes"] == ["neo4j-data:/data"]
    assert services["ui"]["volumes"] == [f"viscnn-home:{home['VISCNN_HOME']}"]
    assert set(compose["volumes"]) == {"neo4j-data", "viscnn-home"}


def test_the_page_waits_for_a_healthy_neo4j(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services["ui"]["depends_on"] == {"neo4j": {"condition": "service_healthy"}}
    assert services["ui"]["environment"]["NEO4J_URI"] == "bolt://neo4j:7687"
    assert "http://127.0.0.1:7474" in services["neo4j"]["healthcheck"]["test"]
    assert "http://127.0.0.1:8501/_stcore/health" in services["ui"]["healthcheck"]["test"][-1]
    for service in services.values():
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["healthcheck"]["retries"] > 0


def test_the_health_check_of_the_page_is_a_program_that_compiles(compose: dict[str, Any]) -> None:
    interpreter, option, program = compose["services"]["ui"]["healthcheck"]["test"][1:]
    assert (interpreter, option) == ("python", "-c")
    compile(program, "healthcheck", "exec")


def test_the_image_runs_as_an_ordinary_user(instructions: list[tuple[str, str]]) -> None:
    users = [value for word, value in instructions if word == "USER"]
    assert users == ["viscnn"]
    words = [word for word, _ in instructions]
    assert words.index("USER") > max(at for at, word in enumerate(words) if word in {"RUN", "COPY"})
    assert words[-1] == "CMD"


def test_the_image_holds_what_the_wheel_needs(instructions: list[tuple[str, str]]) -> None:
    assert instructions[0] == ("FROM", "python:3.11-slim")
    copied = {path for word, value in instructions if word == "COPY" for path in value.split()[:-1]}
    wanted = {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "viscnn", "ingest", "engine", "ui", "cypher"}
    assert copied == wanted
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").split() if line.startswith("!")}
    assert sent == wanted
    assert ("RUN", "pip install --constraint constraints.txt .") in instructions
