"""What the embedded servers promise while they run: real, private, durable, and back after anything."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from helexa.embedded.postgres import Postgres
from helexa.embedded.valkey import Valkey
from helexa.home import REPOSITORY, Home
from tests.servers import RunningServer

Start = Callable[..., RunningServer]
LIMIT_S = 60


def ask(server: RunningServer, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.server.url, autocommit=True) as connection:
        cursor = connection.execute(query)
        return cursor.fetchall() if cursor.description else []


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_they_start_answer_and_leave_no_process(home: Home, running: Start) -> None:
    servers = [running(Postgres, home), running(Valkey, home)]
    family = [process for server in servers for process in psutil.Process(server.process.pid).children(recursive=True)]
    assert ask(servers[0], "SHOW server_version_num")[0][0] >= "180000"
    assert redis.Redis.from_url(servers[1].server.url).ping()
    for server in servers:
        server.stop()
    assert [process for process in family if process.is_running()] == []


def test_postgres_keeps_its_word_about_durability_and_idle_transactions(home: Home, running: Start) -> None:
    server = running(Postgres, home, is_durable=True)
    names = ("fsync", "synchronous_commit", "max_connections", "idle_in_transaction_session_timeout", "server_encoding")
    assert [ask(server, f"SHOW {name}")[0][0] for name in names] == ["on", "on", "200", "2s", "UTF8"]


def test_the_role_is_no_superuser_but_may_make_databases(home: Home, running: Start) -> None:
    server = running(Postgres, home)
    assert ask(server, "SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user") == [(False, True)]
    assert ask(server, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'helexa'") == [("helexa",)]
    ask(server, "CREATE DATABASE another")


def test_nobody_gets_in_without_the_password(home: Home, running: Start) -> None:
    database, stream = running(Postgres, home), running(Valkey, home)
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(database.server.url.replace(database.server.password, "guess"))
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(database.server.url.replace("//helexa:", "//postgres:"))
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=stream.server.port).ping()
    commands = [psutil.Process(server.process.pid).cmdline() for server in (database, stream)]
    assert not [part for part in [*commands[0], *commands[1]] if stream.server.password in part]


def test_redis_never_evicts_and_writes_down(home: Home, running: Start) -> None:
    client = redis.Redis.from_url(running(Valkey, home).server.url)
    settings = {**client.config_get("append*"), **client.config_get("maxmemory-policy"), **client.config_get("save")}
    assert settings[b"appendonly" if b"appendonly" in settings else "appendonly"] in (b"yes", "yes")
    assert {str(value) for value in settings.values()} >= {"everysec", "noeviction"}
    redis.Redis.from_url(client_url(client, 63)).ping()


def client_url(client: redis.Redis, number: int) -> str:
    arguments = client.connection_pool.connection_kwargs
    return f"redis://:{arguments['password']}@127.0.0.1:{arguments['port']}/{number}"


def test_what_was_written_survives_kill_9_and_the_addresses_stay(home: Home, running: Start) -> None:
    database, stream = running(Postgres, home, is_durable=True), running(Valkey, home)
    ask(database, "CREATE TABLE kept AS SELECT 42 AS value")
    redis.Redis.from_url(stream.server.url).set("kept", "42")
    before = (database.server.url, stream.server.url)
    for server in (database, stream):
        server.process.kill()
        server.process.wait()
    database, stream = running(Postgres, home), running(Valkey, home)
    assert (database.server.url, stream.server.url) == before
    assert ask(database, "SELECT value FROM kept") == [(42,)]
    assert redis.Redis.from_url(stream.server.url).get("kept") == b"42"


@pytest.mark.parametrize("kind", [Postgres, Valkey])
def test_a_leftover_that_still_runs_is_stopped_first(home: Home, running: Start, kind: type) -> None:
    leftover = running(kind, home)
    successor = running(kind, home)
    assert leftover.process.wait(LIMIT_S) is not None
    assert successor.server.port == leftover.server.port


def test_a_pid_file_that_names_somebody_else_harms_nobody(home: Home, running: Start) -> None:
    server = running(Postgres, home)
    server.process.kill()
    server.process.wait()
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    pid_file = server.server.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(bystander.pid), *lines[1:], ""]))
    assert ask(running(Postgres, home), "SELECT 1") == [(1,)]
    assert bystander.poll() is None
    bystander.communicate(b"\n", timeout=LIMIT_S)


def test_a_data_folder_left_half_made_is_made_anew(home: Home, running: Start) -> None:
    text = (
        "import sys; from pathlib import Path\n"
        "from helexa.home import Home; from helexa.embedded.place import Place\n"
        "from helexa.embedded.postgres import Postgres\n"
        "home = Home(Path(sys.argv[1])); Postgres(home, Place.of(home)).prepare()"
    )
    maker = subprocess.Popen([sys.executable, "-c", text, str(home.path)], cwd=REPOSITORY)
    wait_until(lambda: any(home.servers.glob("postgres/new-*/PG_VERSION")))
    maker.kill()
    maker.wait()
    assert not (home.servers / "postgres" / "data").exists()
    assert ask(running(Postgres, home), "SELECT 1") == [(1,)]


def test_a_broken_data_folder_is_put_aside_not_deleted(home: Home, running: Start) -> None:
    server = running(Postgres, home)
    server.stop()
    (server.server.data / "global" / "pg_control").unlink()
    assert ask(running(Postgres, home), "SELECT 1") == [(1,)]
    [aside] = server.server.folder.glob("data.incomplete-*")
    assert (aside / "PG_VERSION").exists()


def test_two_homes_run_beside_each_other(folder: Path, running: Start) -> None:
    for kind in (Postgres, Valkey):
        first, second = running(kind, Home(folder / "one")), running(kind, Home(folder / "two"))
        assert first.server.port != second.server.port
        assert first.process.poll() is None


def test_a_path_may_have_spaces_and_quotes(folder: Path, running: Start) -> None:
    home = Home(folder / 'it\'s a "home" für helexa')
    assert ask(running(Postgres, home), "SELECT 1") == [(1,)]
    assert redis.Redis.from_url(running(Valkey, home).server.url).ping()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_they_end_with_whoever_started_them_however_that_died(home: Home) -> None:
    text = (
        "import sys; from pathlib import Path\n"
        "from helexa.home import Home; from helexa.embedded.place import Place\n"
        "from helexa.embedded.postgres import Postgres; from helexa.embedded.valkey import Valkey\n"
        "from tests.servers import RunningServer\n"
        "home = Home(Path(sys.argv[1])); place = Place.of(home)\n"
        "for server in (Postgres(home, place), Valkey(home, place)):\n"
        "    print(RunningServer(server, home.logs / server.name).process.pid, flush=True)\n"
        "input()"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", text, str(home.path)], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert starter.stdout is not None
    pids = [int(starter.stdout.readline()) for _ in range(2)]
    starter.send_signal(signal.SIGKILL)
    starter.communicate()
    wait_until(lambda: all(is_gone(pid) for pid in pids))
