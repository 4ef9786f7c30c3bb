"""The helexa that clients are tried on: an `up` of its own, with a model that says what a script tells it to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from tests.failures.conftest import Up
from tests.proofs.clients.scripted_model import TOLD, scripted_model
from tests.stack.running import wait_until


class Served(NamedTuple):
    """All that a client is told: where, without `/v1`, and as whom."""

    url: str
    key: str


@contextmanager
def serving() -> Iterator[Served]:
    with (
        tempfile.TemporaryDirectory(prefix="helexa-proof-") as folder,  # short, and others may pass through it
        tempfile.TemporaryDirectory(prefix="helexa-model-") as models,
    ):
        Path(folder).chmod(0o711)
        up = Up(Path(folder), scripted_model(Path(models) / TOLD["model"]))
        try:
            up.wait_ready()
            served = Served(up.url, up.key)
            wait_until(lambda: is_loaded(served), limit_s=120, what="the model to be listed as loaded")
            yield served
        except BaseException:
            print(up.output[-4000:])
            raise
        finally:
            up.stop()


def is_loaded(served: Served) -> bool:
    models = httpx.get(f"{served.url}/v1/models", headers={"Authorization": f"Bearer {served.key}"}).json()["data"]
    return any(model["id"] == TOLD["model"] and model["loaded"] for model in models)
