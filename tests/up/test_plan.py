"""What `up` refuses before it starts anything, each in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helexa.home import StartError
from helexa.up.plan import Plan


def plan(**changes: Any) -> Plan:
    usual = {
        "host": "127.0.0.1",
        "port": 31313,
        "gateways": 1,
        "workers": 1,
        "server": "daphne",
        "restart": True,
        "listen": None,
        "metrics_listen": None,
        "database_url": None,
        "redis_url": None,
        "model": None,
        "echo": False,
    }
    return Plan(**{**usual, **changes})


def test_the_usual_plan_is_fine() -> None:
    plan().check(allow_echo=False)
    plan(model="owner/name").check(allow_echo=False)
    assert plan(workers=3).neurons == ["local", "local-2", "local-3"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"gateways": 0}, "--gateways and --workers must be 1 or more"),
        ({"workers": -1}, "--gateways and --workers must be 1 or more"),
        ({"port": 70000}, "give a port between 1 and 65535"),
        ({"echo": True}, "set HELEXA_ALLOW_ECHO=1"),
        ({"listen": "somewhere"}, "--listen takes an IP address"),
        ({"listen": "127.0.0.1", "redis_url": "redis://elsewhere"}, "leave one of them out"),
        ({"model": "/no/such/folder"}, "give a hub id"),
        ({"model": "no-such.gguf"}, "give a hub id"),
        ({"model": "no-owner"}, "give a hub id"),
        ({"model": "far/too/deep"}, "give a hub id"),
    ],
)
def test_what_cannot_work_is_said(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(StartError, match=sentence):
        plan(**changes).check(allow_echo=False)


def test_a_folder_and_a_gguf_file_are_models(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    plan(model=str(tmp_path)).check(allow_echo=False)
    plan(model=str(tmp_path / "model.gguf")).check(allow_echo=False)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:31313"),
        ("0.0.0.0", "http://127.0.0.1:31313"),
        ("::1", "http://[::1]:31313"),
        ("::", "http://[::1]:31313"),
    ],
)
def test_the_address_shown_can_be_opened(host: str, url: str) -> None:
    assert plan(host=host).url == url
