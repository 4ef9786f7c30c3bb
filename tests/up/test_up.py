"""`manage.py up` as its users meet it: its ready line, its children, and nothing left when it ends. Echo, no model."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import psutil
import psycopg
import pytest
import redis

from helexa.embedded.ports import free_port
from helexa.home import REPOSITORY, Home
from tests.processes import alive, children_of, manage
from tests.servers import new_home_folder

pytestmark = pytest.mark.xdist_group("up")

READY = re.compile(
    r"helexa ready: (?P<url>http://127\.0\.0\.1:\d+)  key=(?P<key>\S+)  admin=(?P=url)/admin/ admin \S+\n"
)
LIMIT_S = 120


class Up:
    """A running `manage.py up`. `stderr` collects what it says."""

    def __init__(self, home: Home, *arguments: str, **environment: str) -> None:
        self.home = home
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("HELEXA_") and name not in ("DATABASE_URL", "REDIS_URL")
        }
        self.process = subprocess.Popen(
            manage("up", *arguments),
            env={
                **inherited,
                "HELEXA_HOME": str(home.path),
                "HELEXA_HARNESS": "echo",
                "HELEXA_ALLOW_ECHO": "1",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.stderr: list[str] = []
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def _collect(self) -> None:
        assert self.process.stderr is not None
        self.stderr.extend(self.process.stderr)

    def ready_line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.wait()
            pytest.fail(f"`up` ended before it was ready:\n{''.join(self.stderr)}")
        return line

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def find(self, word: str) -> psutil.Process | None:
        return next(iter(children_of(self.process.pid, word)), None)

    def kill(self, word: str) -> psutil.Process:
        victim = self.find(word)
        assert victim is not None
        victim.kill()
        return victim

    def wait(self) -> int:
        status = self.process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        return status


@pytest.fixture
def up() -> Iterator[Callable[..., Up]]:
    folder = new_home_folder()
    started: list[Up] = []

    def start(*arguments: str, name: str = "home", **environment: str) -> Up:
        environment.setdefault("HELEXA_PORT", str(free_port(["127.0.0.1"])))
        started.append(Up(Home(folder / name), *arguments, **environment))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def answers(line: str) -> bool:
    ready = READY.fullmatch(line)
    assert ready is not None, line
    body = {"model": "echo", "messages": [{"role": "user", "content": "Good morning"}]}
    headers = {"authorization": f"Bearer {ready['key']}"}
    try:
        answer = httpx.post(f"{ready['url']}/v1/chat/completions", json=body, headers=headers, timeout=LIMIT_S)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200 and bool(answer.json()["choices"][0]["message"]["content"])


def test_it_serves_survives_the_death_of_every_part_and_leaves_nothing(up: Callable[..., Up]) -> None:
    one = up("--gateways", "2", HELEXA_API_KEY="a-key-of-my-own-choice", HELEXA_ADMIN_PASSWORD="correct-horse")
    line = one.ready_line()
    assert "  key=a-key-of-my-own-choice  " in line
    assert line.endswith("/admin/ admin correct-horse\n")
    assert all(answers(line) for _ in range(6))
    assert requests_counted(one) >= 6
    servers = one.home.server_urls()
    assert servers is not None

    for part in ("valkey", "postgres", "serve", "runworker"):
        victim = one.kill(part)
        until(lambda victim=victim, part=part: one.find(part) not in (None, victim))
    until(lambda: answers(line))
    assert one.home.server_urls() == servers
    psycopg.connect(servers.database).close()
    assert redis.Redis.from_url(servers.redis).ping()
    for name in ("postgres", "redis", "gateway", "gateway-2", "local"):
        assert any(said.startswith(f"{name} | ") for said in one.stderr), name
        assert (one.home.logs / f"{name}.log").stat().st_size > 0

    gateway = one.find("serve")
    assert gateway is not None
    gateway.terminate()  # as an operator would, to have it begin anew
    until(lambda: any("ended (exit status 0) and starts again" in said for said in one.stderr))
    until(lambda: answers(line))

    family = one.family()
    one.process.terminate()
    assert one.wait() == 0, "".join(one.stderr[-20:])
    assert alive(family) == []


def requests_counted(one: Up) -> float:
    """Over all gateways, at the one address that `up` prints."""
    [url] = [said.removeprefix("metrics: ").strip() for said in one.stderr if said.startswith("metrics: ")]
    rows = httpx.get(url).text.splitlines()
    return sum(float(row.rsplit(" ", 1)[1]) for row in rows if row.startswith("helexa_requests_total{"))


def test_it_comes_back_the_same_and_its_own_kill_9_leaves_nothing(up: Callable[..., Up]) -> None:
    port = str(free_port(["127.0.0.1"]))
    one = up(HELEXA_PORT=port)
    line = one.ready_line()
    family = one.family()
    one.process.kill()
    until(lambda: not alive(family))

    again = up("--no-restart", HELEXA_PORT=port)
    assert again.ready_line() == line
    assert answers(line)
    family = again.family()
    again.kill("runworker")
    assert again.wait() == 1
    assert again.stderr[-1].startswith("local ended (killed by SIGKILL): see ")
    assert alive(family) == []


def test_it_does_not_load_what_only_neurons_need() -> None:
    text = (
        "import django, sys; django.setup(); import helexa.management.commands.up\n"
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "helexa.settings"}
    done = subprocess.run(
        [sys.executable, "-c", text], check=True, cwd=REPOSITORY, env=environment, capture_output=True
    )
    assert done.stdout == b"set()\n"


def test_it_stops_at_any_moment_of_its_start(up: Callable[..., Up]) -> None:
    one = up()
    until(lambda: any(one.home.servers.glob("postgres/new-*")))
    one.process.send_signal(signal.SIGINT)
    assert one.wait() == 0
    until(lambda: not [p for p in psutil.process_iter(["cmdline"]) if str(one.home.path) in str(p.info["cmdline"])])
    assert not [line for line in one.stderr if "Traceback" in line]


def test_a_second_one_in_the_same_home_is_refused_in_one_sentence(up: Callable[..., Up]) -> None:
    first = up()
    until(lambda: (first.home.run / "up.lock").exists() and (first.home.run / "up.lock").read_text())
    second = up()
    assert second.wait() == 1
    assert len(second.stderr) == 1
    assert f"already used by a running `up` (process {first.process.pid})" in second.stderr[0]


def test_a_port_that_is_taken_is_one_sentence(up: Callable[..., Up]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        one = up(HELEXA_PORT=str(port))
        assert one.wait() == 1
    assert one.stderr == [
        f"helexa cannot start: Port {port} on 127.0.0.1 is in use: stop what listens there, or choose another port. "
        "(HELEXA_HOST and HELEXA_PORT say where it listens.)\n"
    ]


def test_servers_that_do_not_answer_are_named(up: Callable[..., Up]) -> None:
    dead = free_port(["127.0.0.1"])
    one = up(REDIS_URL=f"redis://127.0.0.1:{dead}/0")
    assert one.wait() == 1
    assert f"Redis at 127.0.0.1:{dead} cannot be used" in one.stderr[-1]
    two = up(DATABASE_URL=f"postgresql://helexa@127.0.0.1:{dead}/helexa", name="two")
    assert two.wait() == 1
    assert "check DATABASE_URL" in two.stderr[-1]
