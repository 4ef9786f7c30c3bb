"""A whole `up` of its own, to kill parts of: embedded servers, two gateways, a neuron with a tiny model."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from helexa.home import REPOSITORY
from tests.models import LASTING_CONTEXT, tiny_model
from tests.processes import children_of, manage
from tests.stack.running import PATIENCE_S, free_port, wait_until

METRICS = re.compile(r"^metrics: (?P<url>\S+)$", re.M)
READY = re.compile(
    r"^helexa ready: (?P<url>\S+)  key=(?P<key>\S+)  admin=(?P<admin>\S+) (?P<user>\S+) (?P<password>\S+)$", re.M
)


class Up:
    """`manage.py up` in a folder of its own. Ends with everything it started."""

    def __init__(self, folder: Path, model: Path, *options: str, **settings: str) -> None:
        self.folder = folder
        self.port = free_port()
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("HELEXA_", "DATABASE_", "REDIS_"))
        }
        self.environment = clean | {
            "HELEXA_HOME": str(folder / "home"),
            "HELEXA_PORT": str(self.port),
            "HELEXA_MODEL": str(model),
            **settings,
        }
        self.output = ""
        self.process = subprocess.Popen(
            manage("up", *options),
            cwd=REPOSITORY,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line

    def wait_ready(self) -> None:
        def ready() -> re.Match[str] | None:
            assert self.process.poll() is None, self.output
            return READY.search(self.output)

        found = wait_until(ready, limit_s=120, what="the ready line")
        self.url, self.key = found["url"], found["key"]
        self.admin, self.user, self.password = found["admin"], found["user"], found["password"]

    @property
    def metrics_url(self) -> str:
        """As announced: beside the gateway's port, or on another one where that was taken."""
        announced = METRICS.search(self.output)
        assert announced is not None, self.output
        return announced["url"]

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def chat(self, **fields: object) -> httpx.Response:
        return httpx.post(
            f"{self.url}/v1/chat/completions", json=self.body(**fields), headers=self.headers, timeout=PATIENCE_S
        )

    def body(self, **fields: object) -> dict[str, object]:
        return {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5, **fields}

    def child(self, word: str) -> psutil.Process:
        """The process that `up` started for that command (`serve`) or from that program (`valkey`)."""
        return self.children(word)[0]

    def children(self, word: str) -> list[psutil.Process]:
        return children_of(self.process.pid, word)

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            command, cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, check=True
        ).stdout

    def stop(self) -> None:
        """End it as Ctrl-C does and insist that nothing is left."""
        try:
            family = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            family = []
        self.process.send_signal(signal.SIGINT)
        self.process.wait(40)
        _, left = psutil.wait_procs(family, timeout=5)
        assert not left, f"left running: {[one.cmdline() for one in left]}"


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    models = tmp_path_factory.mktemp("models")
    model = tiny_model(models / "tiny", eos=False, max_position_embeddings=LASTING_CONTEXT)
    with tempfile.TemporaryDirectory(prefix="helexa-up-") as folder:  # short, and others may pass through it
        Path(folder).chmod(0o711)
        running = Up(Path(folder), model, "--gateways", "2")
        try:
            running.wait_ready()
            yield running
        finally:
            running.stop()
