"""`manage.py serve`: what it refuses, in sentences. What it serves is tested by tests/stack."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from helexa.home import REPOSITORY

ENOUGH = {
    "HELEXA_SECRET_KEY": "a secret for tests that no other process knows",
    "HELEXA_KEY_PEPPER": "a pepper for tests that no other process knows",
    "DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}


def serve(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HELEXA_")}
    for name in ("DATABASE_URL", "REDIS_URL"):
        inherited.pop(name, None)
    return subprocess.run(
        [sys.executable, "manage.py", "serve", *arguments],
        cwd=REPOSITORY,
        env={**inherited, "HELEXA_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_names_every_setting_that_is_missing(tmp_path: Path) -> None:
    refused = serve(tmp_path)
    assert refused.returncode == 1
    assert [line.split()[0] for line in refused.stderr.splitlines()] == list(ENOUGH)
    assert "make up" in refused.stderr


def test_help_needs_no_settings_and_has_an_example(tmp_path: Path) -> None:
    shown = serve(tmp_path, "--help")
    assert shown.returncode == 0
    assert "Example: manage.py serve --host" in " ".join(shown.stdout.split())
    assert "--fd" not in shown.stdout


def test_an_address_it_cannot_have_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, sentence in (
            (("--port", port), f"Port {port} on 127.0.0.1 is in use"),
            (("--port", "70000"), "70000 is not a port"),
            (("--host", "no.such.host.invalid"), "no.such.host.invalid is not an address"),
            (("--host", "192.0.2.1"), "192.0.2.1 is not an address of this machine"),
            (("--fd", "99"), "File descriptor 99 is no socket"),
        ):
            refused = serve(tmp_path, *arguments, **ENOUGH)
            assert refused.returncode == 1
            assert refused.stderr.startswith(sentence)
            assert len(refused.stderr.splitlines()) == 1
