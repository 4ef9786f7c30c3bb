"""A neuron's name belongs to one living process."""

from __future__ import annotations

import threading
import time

import pytest
import redis

from fleet.reports import REPORTS_STREAM, NeuronReport, encode_report
from inference.worker.lease import Lease, NameTakenError


def say(client: redis.Redis, boot_id: str) -> None:
    report = NeuronReport(
        name="n", boot_id=boot_id, hostname="h", os="o", started_at=0, at=time.time(), harnesses=[], build={},
        devices=[], models=[], running=[],
    )  # fmt: skip
    client.xadd(REPORTS_STREAM, {"r": encode_report(report)})


def test_a_free_name_is_taken_at_once_and_given_back(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    first, second = Lease(client, name="n", boot_id="one"), Lease(client, name="n", boot_id="two")
    first.acquire()
    assert first.is_ours()
    first.release()
    second.acquire()
    assert second.is_ours()
    first.release()  # not ours any more: it must not take it from the other
    assert second.is_ours()


def test_a_newcomer_is_turned_away_while_the_holder_reports(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    Lease(client, name="n", boot_id="one").acquire()
    stop = threading.Event()

    def report() -> None:
        while not stop.wait(0.2):
            say(client, "one")

    holder = threading.Thread(target=report)
    holder.start()
    with pytest.raises(NameTakenError, match="running already"):
        Lease(client, name="n", boot_id="two").acquire()
    stop.set()
    holder.join()


def test_a_newcomer_takes_the_name_of_a_silent_holder(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    dead, newcomer = Lease(client, name="n", boot_id="one"), Lease(client, name="n", boot_id="two")
    dead.acquire()
    say(client, "one")  # before the newcomer came: no proof of life
    newcomer.acquire()
    assert newcomer.is_ours()
    assert not dead.is_ours()
