"""The helexa that a proof is made on: an `up` of its own with a tiny torch model, several gateways and neurons."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import redis

from fleet.live import LiveGateway, live_gateways, live_neurons
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

    def prepare(self) -> None:
        self.wait_ready()
        urls = Home(self.folder / "home").server_urls()
        assert urls is not None
        self.database_url, self.redis_url = urls.database, urls.redis
        self.ledger = Ledger(urls.database)
        self.manage("catalogue", "price", "tiny", "--input", INPUT_USD, "--output", OUTPUT_USD)

    def wait_whole(self, *, gateways: int, neurons: int) -> None:
        """Until so many gateways and neurons with the model are there."""
        wait_until(lambda: self.is_whole(gateways=gateways, neurons=neurons), what="all gateways and neurons")

    def is_whole(self, *, gateways: int, neurons: int) -> bool:
        return len(self.gateways()) >= gateways and len(self.neurons_with_model()) >= neurons

    def gateways(self) -> list[LiveGateway]:
        """Those that said within the last seconds that they live, and still do."""
        try:
            with redis.Redis.from_url(self.redis_url, socket_timeout=2) as client:
                return [one for one in live_gateways(client) if psutil.pid_exists(one.pid)]
        except redis.RedisError:
            return []

    def neurons_with_model(self) -> list[str]:
        try:
            with redis.Redis.from_url(self.redis_url, socket_timeout=2) as client:
                return [
                    neuron.report.name
                    for neuron in live_neurons(client)
                    if neuron.healthy and any(m.id == "tiny" and m.status == "loaded" for m in neuron.report.models)
                ]
        except redis.RedisError:
            return []

    def children(self, word: str) -> list[psutil.Process]:
        """The processes that `up` started whose command line has that word."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            try:
                if any(word in part for part in child.cmdline()):
                    found.append(child)
            except psutil.Error:
                continue  # it has just ended
        return found

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


@contextmanager
def proving(*, gateways: int, workers: int) -> Iterator[Proving]:
    with (
        tempfile.TemporaryDirectory(prefix="helexa-proof-") as folder,  # short, and others may pass through it
        tempfile.TemporaryDirectory(prefix="helexa-model-") as models,
    ):
        Path(folder).chmod(0o711)
        model = tiny_model(Path(models) / "tiny", eos=False)
        running = Proving(Path(folder), model, "--gateways", str(gateways), "--workers", str(workers))
        try:
            running.prepare()
            running.wait_whole(gateways=gateways, neurons=workers)
            yield running
        finally:
            running.stop()
