"""The helexa that a proof is made on: an `up` of its own with a tiny torch model, several gateways and neurons."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import redis

from fleet.live import LiveGateway, live_gateways, live_neurons
from fleet.reports import NeuronReport
from helexa.home import Home
from tests.failures.conftest import Up
from tests.models import tiny_model
from tests.proofs.ledger import Ledger
from tests.stack.running import wait_until

#: In dollars per 1M tokens, and odd: a request's cost is no whole nano-dollar, so rounding is proved as well.
INPUT_USD, OUTPUT_USD = "0.3507007", "1.1000903"
#: A minute after PostgreSQL is up nothing may be open (MISSION, beyond 2).
NOTHING_OPEN_WITHIN_S = 60.0


class Proving(Up):
    """An `up` with prices, whose books and processes can be looked at."""

    def __init__(self, folder: Path, model: Path, *, gateways: int, workers: int, **settings: str) -> None:
        super().__init__(folder, model, "--gateways", str(gateways), "--workers", str(workers), **settings)
        self._gateways, self._workers = gateways, workers

    def prepare(self) -> None:
        self.wait_ready()
        urls = Home(self.folder / "home").server_urls()
        assert urls is not None
        self.database_url, self.redis_url = urls.database, urls.redis
        self.ledger = Ledger(urls.database)
        self.manage("catalogue", "price", "tiny", "--input", INPUT_USD, "--output", OUTPUT_USD)

    def wait_well(self, *, gateways: int = 0, neurons: int = 0, without: Collection[object] = ()) -> None:
        """Until so many gateways are ready, and so many neurons with the model; else as many as `up` has.

        `without` are processes and boots that died: what they said last is still there for some seconds.
        """
        gateways, neurons = gateways or self._gateways, neurons or self._workers

        def is_well() -> bool:
            living = [one for one in self.gateways() if one.pid not in without]
            loaded = [one for one in self.neurons() if one.boot_id not in without and _has_model(one)]
            return len(living) >= gateways and len(loaded) >= neurons and all(_is_ready(one.url) for one in living)

        wait_until(is_well, limit_s=90, what="all gateways and neurons")

    def wait_named(self, name: str) -> None:
        """Until a neuron of this name reports."""
        wait_until(lambda: any(one.name == name for one in self.neurons()), what=f"neuron {name}")

    def gateways(self) -> list[LiveGateway]:
        """Those that said within the last seconds that they live, and still do."""
        try:
            with redis.Redis.from_url(self.redis_url, socket_timeout=2) as client:
                return [one for one in live_gateways(client) if psutil.pid_exists(one.pid)]
        except redis.RedisError:
            return []

    def neurons(self) -> list[NeuronReport]:
        """The newest report of every healthy neuron."""
        try:
            with redis.Redis.from_url(self.redis_url, socket_timeout=2) as client:
                return [neuron.report for neuron in live_neurons(client) if neuron.healthy]
        except redis.RedisError:
            return []

    def wait_nothing_open(self) -> None:
        wait_until(
            lambda: self.ledger.open_reservations() == 0,
            limit_s=NOTHING_OPEN_WITHIN_S,
            what="every reservation to be closed",
        )

    def audit(self) -> dict[str, Any]:
        books: dict[str, Any] = json.loads(self.manage("audit_ledger", "--json"))
        return books

    def booked_for(self, request_id: str) -> dict[str, Any]:
        booked: dict[str, Any] = json.loads(self.manage("audit_ledger", "--request", request_id, "--json"))
        return booked


def _has_model(neuron: NeuronReport) -> bool:
    return any(model.id == "tiny" and model.status == "loaded" for model in neuron.models)


def _is_ready(url: str) -> bool:
    return httpx.get(f"{url}/health", timeout=5).status_code == 200


@contextmanager
def proving(*, gateways: int, workers: int, context: int = 2048, **settings: str) -> Iterator[Proving]:
    with (
        tempfile.TemporaryDirectory(prefix="helexa-proof-") as folder,  # short, and others may pass through it
        tempfile.TemporaryDirectory(prefix="helexa-model-") as models,
    ):
        Path(folder).chmod(0o711)
        model = tiny_model(Path(models) / "tiny", eos=False, max_position_embeddings=context)
        running = Proving(Path(folder), model, gateways=gateways, workers=workers, **settings)
        try:
            running.prepare()
            running.wait_well()
            yield running
        finally:
            running.stop()
