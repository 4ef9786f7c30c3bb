from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from tests.serving.running import Server

uvicorn_is_missing = pytest.mark.skipif(find_spec("uvicorn") is None, reason="the extra `fast` is not installed")


@pytest.fixture(params=["daphne", pytest.param("uvicorn", marks=uvicorn_is_missing)])
def serve(request: pytest.FixtureRequest) -> Iterator[Callable[..., Server]]:
    """Start servers of one kind; they end with the test."""
    servers: list[Server] = []

    def start(**options: Any) -> Server:
        servers.append(Server(request.param, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()
