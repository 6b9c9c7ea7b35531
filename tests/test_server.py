"""The managed Neo4j, for real: started, joined, killed, locked out, interrupted; each group shares one home."""

import base64
import fcntl
import json
import os
import signal
import socket
import stat
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.servers import mirror_of, own_home, servers_of, start_elsewhere, wait_until
from viscnn import server
from viscnn.errors import ConfigError, ConnectionFailed, CypherRefused, ServerError
from viscnn.graph import Graph, change_password, probe
from viscnn.server import settings
from viscnn.server.fetch import fetch
from viscnn.server.home import State, server_home
from viscnn.server.jars import jars_folder, locked, missing
from viscnn.server.lock import line_of


@pytest.fixture(scope="module")
def started_twice(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The addresses that two processes print which start the server of a new home at the same time."""
    with own_home(tmp_path_factory.mktemp("with space é:")):
        starters = [start_elsewhere(), start_elsewhere()]
        ends = [starter.communicate(timeout=180) for starter in starters]
        assert [starter.returncode for starter in starters] == [0, 0], ends
        yield [output.strip() for output, _ in ends]


@pytest.fixture
def twin_home(started_twice: list[str]) -> Path:
    """The home of that server, which runs when the test begins."""
    server.start()
    return Path(os.environ["VISCNN_HOME"])


def _rows(text: str) -> tuple[tuple[object, ...], ...]:
    with Graph(server.connection()) as graph:
        return graph.fetch(text, {}, limit=100, timeout=10).rows


def _commit(text: str) -> None:
    """Run a write statement through the HTTP interface of the server."""
    browser = server.status().browser
    assert browser is not None
    variables = server.shell_env()
    credentials = base64.b64encode(f"{variables['NEO4J_USERNAME']}:{variables['NEO4J_PASSWORD']}".encode()).decode()
    request = urllib.request.Request(
        browser.replace("/browser/", "/db/neo4j/query/v2"),
        data=json.dumps({"statement": text}).encode(),
        headers={
            "Authorization": f"Basic {credentials}",
            "Content-Type": "application/json",
            "Accept": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 202


def test_of_two_starts_at_once_one_starts_and_the_other_joins(started_twice: list[str], twin_home: Path) -> None:
    assert started_twice[0] == started_twice[1] == server.status().uri
    assert servers_of(twin_home) == [server.status().pid]


def test_status_says_where_everything_is(twin_home: Path) -> None:
    status = server.status()
    assert status.running
    assert status.version == "2026.08.1"
    assert ("Neo4j Kernel", "2026.08.1") in _rows(
        "CALL dbms.components() YIELD name, versions RETURN name, versions[0]"
    )
    assert status.home == twin_home.resolve() / "server"
    assert stat.S_IMODE(status.password_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(status.home.stat().st_mode) == 0o700
    assert not (status.home / "password.initial").exists()
    assert status.password_file.read_text() not in repr(server.connection())


def test_neo4j_browser_is_served_and_finds_the_bolt_port(twin_home: Path) -> None:
    status = server.status()
    assert status.browser is not None
    with urllib.request.urlopen(status.browser, timeout=10) as page:
        assert page.status == 200
        assert b"<html" in page.read().lower()
    with urllib.request.urlopen(status.browser.replace("browser/", ""), timeout=10) as page:
        assert json.load(page)["bolt_direct"] == status.uri


def test_listens_on_this_machine_only(twin_home: Path) -> None:
    listening = psutil.Process(server.status().pid).net_connections("tcp")
    addresses = {each.laddr.ip for each in listening if each.status == psutil.CONN_LISTEN}
    assert addresses <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert len([each for each in listening if each.status == psutil.CONN_LISTEN]) == 2


def test_password_is_required_and_never_stood_in_argv(twin_home: Path) -> None:
    known = server.connection()
    with pytest.raises(ConnectionFailed, match="refused"):
        probe(replace(known, password="neo4j"))
    assert known.password not in " ".join(psutil.Process(server.status().pid).cmdline())


def test_load_csv_reaches_neither_files_nor_addresses(twin_home: Path) -> None:
    browser = server.status().browser
    for source in ("file:///etc/hostname", browser):
        with pytest.raises(CypherRefused, match="Cannot load from URL"):
            _rows(f"LOAD CSV FROM '{source}' AS row RETURN row")


def test_settings_are_those_that_were_asked_for(twin_home: Path) -> None:
    rows = _rows("SHOW SETTINGS YIELD name, value WHERE name =~ '.*(usage_report|language|import).*'")
    found = {str(name): str(value) for name, value in rows}
    assert found["dbms.usage_report.enabled"] == "false"
    assert found["db.query.default_language"] == "CYPHER_25"
    imports = Path(found["server.directories.import"])
    assert imports.samefile(twin_home / "server" / "import")
    assert not list(imports.iterdir())


def test_a_password_that_was_changed_in_neo4j_is_reported(twin_home: Path) -> None:
    known = server.connection()
    changed = replace(known, password="changed-in-browser")
    change_password(known, changed.password)
    try:
        with pytest.raises(ConfigError, match=r"refuses the password in .*password; if it was changed"):
            server.start()
    finally:
        change_password(changed, known.password)
    assert server.start().running


def test_committed_data_survives_kill_9(twin_home: Path) -> None:
    before = server.status()
    _commit("CREATE (:Survivor {name: 'kill'})")
    psutil.Process(before.pid).kill()
    wait_until(lambda: not server.status().running)
    with pytest.raises(ConnectionFailed, match="viscnn server start"):
        server.connection()
    after = server.start()
    assert after.uri == before.uri
    assert after.pid != before.pid
    assert _rows("MATCH (s:Survivor {name: 'kill'}) RETURN count(s)") == ((1,),)


def test_stale_pid_file_and_taken_port(twin_home: Path) -> None:
    before = server.status()
    _commit("CREATE (:Survivor {name: 'port'})")
    assert server.stop()
    assert not server.stop()
    assert servers_of(twin_home) == []
    (before.home / "server.pid").write_text(f"{os.getpid()}\n")  # alive, but no Neo4j
    assert server.status().pid is None
    assert before.uri is not None
    with socket.create_server(("127.0.0.1", int(before.uri.rpartition(":")[2]))):
        after = server.start()
        assert after.uri != before.uri
        assert after.browser == before.browser
        with urllib.request.urlopen(str(after.browser).replace("browser/", ""), timeout=10) as page:
            assert json.load(page)["bolt_direct"] == after.uri
    assert _rows("MATCH (s:Survivor {name: 'port'}) RETURN count(s)") == ((1,),)


def test_a_server_that_dies_while_starting_says_why(twin_home: Path) -> None:
    server.stop()
    with (twin_home / "server" / "data" / "databases" / "store_lock").open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        with pytest.raises(ServerError, match=r"stopped while starting: .*[Ll]ock.* \(log: .*neo4j\.log\)") as caught:
            server.start()
    assert "\n" not in str(caught.value)
    assert servers_of(twin_home) == []
    assert not server.status().running


def test_a_first_start_that_is_broken_off_can_be_repeated(tmp_path: Path) -> None:
    with own_home(tmp_path):
        pid_file = server_home().pid_file
        interrupted = start_elsewhere()
        wait_until(pid_file.exists)
        time.sleep(1.0)
        interrupted.send_signal(signal.SIGINT)
        _, errors = interrupted.communicate(timeout=60)
        assert interrupted.returncode != 0
        assert "KeyboardInterrupt" in errors
        assert servers_of(tmp_path) == []
        assert not pid_file.exists()

        killed = start_elsewhere()
        wait_until(pid_file.exists)
        killed.kill()
        killed.communicate()
        [orphan] = servers_of(tmp_path)
        assert not server.status().running
        assert server.start().pid == orphan
        assert _rows("RETURN 1") == ((1,),)


def test_a_server_whose_pid_file_was_removed_is_found(twin_home: Path) -> None:
    before = server.status()
    (before.home / "server.pid").unlink()
    assert server.stop()
    assert servers_of(twin_home) == []


def test_nothing_is_made_by_asking(tmp_path: Path) -> None:
    with own_home(tmp_path / "new"):
        assert not server.status().running
        assert not server.stop()
        with pytest.raises(ConnectionFailed, match="viscnn server start"):
            server.shell_env()
        assert not (tmp_path / "new").exists()


def test_unwritable_home_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with own_home(tmp_path / "file" / "home"), pytest.raises(ConfigError, match=r"file/home.*set VISCNN_HOME"):
        server.start()


def test_read_only_home_is_named(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    with own_home(tmp_path), pytest.raises(ConfigError, match="set VISCNN_HOME"):
        server.start()


def test_full_disk_is_named_with_the_space_needed(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.decode().strip()}")
    try:
        with own_home(tmp_path), pytest.raises(ServerError, match=r"has \d+ MB free, but Neo4j needs 300 MB"):
            server.start()
        with pytest.raises(ServerError, match=r"need 173 MB, but .* has \d+ MB free"):
            fetch(locked(), tmp_path / "jars")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_lost_password_file_is_no_reason_to_drop_a_database(tmp_path: Path) -> None:
    with own_home(tmp_path):
        (tmp_path / "server" / "data" / "databases").mkdir(parents=True)
        with pytest.raises(ConfigError, match=r"password is gone, but .* holds a database"):
            server.start()
        assert (tmp_path / "server" / "data" / "databases").is_dir()


@pytest.mark.parametrize("amount", ["1", "0m", "much", "1g -version"])
def test_wrong_memory_is_named(amount: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISCNN_HEAP", amount)
    with pytest.raises(ConfigError, match=r"VISCNN_HEAP is .*such as 512m"):
        settings.java_arguments(())


def test_java_options_are_quoted_as_in_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISCNN_JAVA_OPTIONS", r"""-Done=1 '-Dtwo=a b\c' -Dthree='"'""")
    lines = settings.java_arguments(()).splitlines()
    assert lines[-5:-2] == ['"-Done=1"', r'"-Dtwo=a b\\c"', r'"-Dthree=\""']
    monkeypatch.setenv("VISCNN_JAVA_OPTIONS", "'-Done")
    with pytest.raises(ConfigError, match=r"VISCNN_JAVA_OPTIONS .* quote as in a shell"):
        settings.java_arguments(())


def test_ports_are_kept_while_they_are_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        last = State(bolt=taken.getsockname()[1], http=settings.choose_ports(None).http)
        chosen = settings.choose_ports(last)
    assert chosen.http == last.http
    assert chosen.bolt not in {last.bolt, last.http}
    assert settings.choose_ports(State(bolt=70_000, http=-1)).bolt in range(20_000, 32_000)


def test_the_list_holds_the_server_its_browser_and_no_file_twice() -> None:
    jars = locked()
    names = {jar.file_name for jar in jars}
    assert len(names) == len(jars)
    assert {"neo4j-2026.08.1.jar", "neo4j-server-2026.08.1.jar", "neo4j-browser-5.24.0.jar"} <= names
    assert {jar.version for jar in jars if jar.group.startswith("org.neo4j") and "2026" in jar.version} == {"2026.08.1"}


def test_the_list_can_be_written_again(tmp_path: Path) -> None:
    fetch(locked(), jars_folder())
    jar = next(each for each in locked() if each.classifier == "linux-x86_64")
    copy = tmp_path / jar.repository_path
    copy.parent.mkdir(parents=True)
    copy.write_bytes((jars_folder() / jar.file_name).read_bytes())
    assert line_of(copy, tmp_path) == f"{jar.coordinates} {jar.size} {jar.sha256}"


def test_fetch_takes_what_is_missing_and_reports_bytes(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    with mirror_of(tmp_path / "mirror") as mirror:
        jars = [mirror.add(f"part{number}", bytes([number]) * 50_000) for number in range(5)]
        fetch(jars[:2], tmp_path / "jars")
        (tmp_path / "jars" / jars[0].file_name).write_bytes(b"cut off")
        mirror.asked.clear()
        fetch(jars, tmp_path / "jars", progress=lambda *report: seen.append(report))
    assert sorted(mirror.asked) == ["part0-1.0.jar", "part2-1.0.jar", "part3-1.0.jar", "part4-1.0.jar"]
    assert seen[-1] == ("Neo4j", 200_000, 200_000)
    assert missing(jars, tmp_path / "jars") == []
    assert not (tmp_path / "jars" / "parts").exists()


def test_fetch_uses_the_cache_of_maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with mirror_of(tmp_path / "mirror") as mirror:
        same, other = mirror.add("same", b"same" * 100), mirror.add("other", b"other" * 100)
        monkeypatch.setenv("M2_REPO", str(tmp_path / "cache"))
        for jar, content in ((same, b"same" * 100), (other, b"wrong" * 100)):
            cached = tmp_path / "cache" / jar.repository_path
            cached.parent.mkdir(parents=True)
            cached.write_bytes(content)
        fetch([same, other], tmp_path / "jars")
    assert mirror.asked == ["other-1.0.jar"]
    assert (tmp_path / "jars" / "other-1.0.jar").read_bytes() == b"other" * 100


def test_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    with mirror_of(tmp_path / "mirror") as mirror:
        jar = mirror.add("changed", b"as it was locked")
        (mirror.folder / jar.repository_path).write_bytes(b"as it is served!")
        with pytest.raises(ServerError, match=r"org.example:changed:1.0: its SHA-256 is \w+... instead of"):
            fetch([jar], tmp_path / "jars")
        assert missing([jar], tmp_path / "jars") == [jar]


def test_a_download_that_breaks_off_leaves_nothing_and_goes_on_later(tmp_path: Path) -> None:
    with mirror_of(tmp_path / "mirror") as mirror:
        jar = mirror.add("large", b"x" * 300_000)
        mirror.cut_after = 100_000
        with pytest.raises(ServerError, match=r"cannot fetch org.example:large:1.0"):
            fetch([jar], tmp_path / "jars")
        assert [path.name for path in (tmp_path / "jars").iterdir() if path.suffix == ".jar"] == []
        assert len(mirror.asked) == 3
        mirror.cut_after = None
        fetch([jar], tmp_path / "jars")
    assert missing([jar], tmp_path / "jars") == []


def test_no_network_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with mirror_of(tmp_path / "mirror") as mirror:
        jar = mirror.add("any", b"any")
    monkeypatch.setenv("M2_REPO", str(tmp_path / "cache"))
    monkeypatch.setenv("VISCNN_MAVEN", mirror.address)  # where nothing listens any more
    with pytest.raises(ServerError, match=r"cannot fetch .*; check the network and proxy, or .*VISCNN_MAVEN") as caught:
        fetch([jar], tmp_path / "jars")
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("VISCNN_MAVEN", "ftp://example.org")
    with pytest.raises(ConfigError, match=r"VISCNN_MAVEN is 'ftp://example.org'"):
        fetch([jar], tmp_path / "jars")
