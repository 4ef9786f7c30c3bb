"""`make proof-peers`: what a gateway with budgets answers a second, beside LiteLLM's proxy in front of a bare upstream.

    python -m tests.proofs.peers --server daphne --clients 1,32 --seconds 4

Both are driven by the same generator, one after the other, on the same cores. LiteLLM runs in an environment of its
own with one key, without its database and budgets; helexa with a key that has two caps.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from helexa.embedded.ports import free_port
from helexa.home import REPOSITORY
from helexa.loadtest import processes
from helexa.loadtest.generator import Figures, Plan
from helexa.up.plan import SERVERS
from tests.proofs.clients.environments import Environment

LITELLM = Environment("litellm-proxy", python=("litellm[proxy]==1.106.2",))
_HOST = processes.HOST
_START_LIMIT_S = 90


@contextmanager
def _running(command: Sequence[str], ready: str, **environment: str) -> Iterator[None]:
    """A process of ours until the block ends. `ready` is a URL that it answers when it is up."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=os.environ | environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            until_s = time.monotonic() + _START_LIMIT_S
            while not _answers(ready):
                if process.poll() is not None or time.monotonic() > until_s:
                    log.seek(0)
                    raise RuntimeError(f"{command[0]} did not start: {log.read()[-2000:].decode(errors='replace')}")
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code < 500
    except httpx.HTTPError:
        return False


@contextmanager
def upstream() -> Iterator[str]:
    port = free_port([_HOST])
    command = [sys.executable, "-m", "uvicorn", "tests.proofs.upstream:application", "--port", str(port)]
    with _running([*command, "--log-level", "warning"], f"http://{_HOST}:{port}/"):
        yield f"http://{_HOST}:{port}/v1"


@contextmanager
def litellm(key: str) -> Iterator[str]:
    """The URL of its proxy, one worker, with one model behind it and one key that may do anything."""
    LITELLM.make()
    port = free_port([_HOST])
    with upstream() as base, tempfile.TemporaryDirectory() as folder:
        model = {"model_name": "echo", "litellm_params": {"model": "openai/echo", "api_base": base, "api_key": "none"}}
        config = Path(folder) / "config.yaml"  # JSON is YAML
        settings = {"model_list": [model], "general_settings": {"master_key": key}}
        config.write_text(json.dumps(settings | {"litellm_settings": {"telemetry": False}}))
        command = [str(LITELLM.folder / "bin" / "litellm"), "--config", str(config), "--host", _HOST]
        with _running([*command, "--port", str(port)], f"http://{_HOST}:{port}/health/liveliness"):
            yield f"http://{_HOST}:{port}"


def measured(url: str, key: str, options: argparse.Namespace) -> dict[str, Figures]:
    plan = Plan(
        url=url,
        path="/v1/chat/completions",
        key=key,
        model="echo",
        clients=options.clients,
        seconds=options.seconds,
        rounds=options.rounds,
    )
    result = processes.measure(plan)
    if result is None or result.faults:
        raise RuntimeError(f"{url} gave wrong answers: {result.faults if result else 'none was right'}")
    return result.clients


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make proof-peers", description="Measure helexa beside LiteLLM's proxy.")
    parser.add_argument("--server", choices=SERVERS, default=SERVERS[0], help="default %(default)s")
    parser.add_argument("--clients", type=lambda text: [int(part) for part in text.split(",")], default=[1, 32])
    parser.add_argument("--seconds", type=float, default=4.0, help="of a round (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="the best counts (default %(default)s)")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what was started, as Ctrl-C does
    key = f"sk-helexa-{secrets.token_urlsafe(32)}"
    with processes.gateway(server=options.server, key=key, database_url=None, redis_url=None) as url:
        processes.set_caps(url, key)
        ours = measured(url, key, options)
    with litellm(key) as url:
        theirs = measured(url, key, options)
    _show(ours, theirs, server=options.server)
    return 0


def _show(ours: dict[str, Figures], theirs: dict[str, Figures], *, server: str) -> None:
    table = Table("clients", "", title=f"helexa on {server} with two caps, LiteLLM without any")
    for column in ("helexa / s", "LiteLLM / s", "ratio", "first content p50 ms"):
        table.add_column(column, justify="right")
    for clients, mine in ours.items():
        other = theirs[clients]
        for name, a, b in (("whole", mine.whole, other.whole), ("streams", mine.stream, other.stream)):
            first = f"{mine.stream.first_token_p50_ms} / {other.stream.first_token_p50_ms}" if name == "streams" else ""
            ratio = f"{a.per_second / b.per_second:.1f}" if b.per_second else "-"
            table.add_row(clients, name, f"{a.per_second:g}", f"{b.per_second:g}", ratio, first)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
