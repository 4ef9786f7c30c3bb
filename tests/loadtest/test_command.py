"""`manage.py loadtest gateway` as a person types it: its figures, its refusals, and nothing left after it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path

import psutil
import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from tests.loadtest.conftest import Serve
from tests.loadtest.wire import chunked, completion, stream, with_length
from tests.processes import manage

LIMIT_S = 120
BRIEF = ("--seconds", "0.3", "--rounds", "1")


def start(*arguments: str, temporary: Path) -> subprocess.Popen[str]:
    """The command; its temporary home is made in `temporary`, so that a test sees whether it was removed."""
    return subprocess.Popen(
        manage("loadtest", *arguments),
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def scratch_database(family: list[psutil.Process]) -> str:
    """The URL that the gateway among these processes was given."""
    gateway = next(process for process in family if "serve" in process.cmdline())
    return gateway.environ()["DATABASE_URL"]


def test_it_measures_a_gateway_of_its_own(tmp_path: Path) -> None:
    process = start("gateway", *BRIEF, "--clients", "1,4", "--json", temporary=tmp_path)
    output, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors
    document = json.loads(output)
    assert (document["server"], document["errors"]) == ("daphne", 0)
    assert set(document["clients"]) == {"1", "4"}
    for figures in document["clients"].values():
        assert figures["whole"]["per_second"] > 0
        assert 0 < figures["stream"]["first_token_p50_ms"] <= figures["stream"]["p50_ms"]
    assert list(tmp_path.iterdir()) == []


def test_the_price_of_money_is_measured_in_one_run(tmp_path: Path) -> None:
    process = start("gateway", "--budgets", *BRIEF, "--clients", "4", "--json", temporary=tmp_path)
    output, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors
    document = json.loads(output)
    assert document["errors"] == 0
    for measured in (document["clients"], document["without_budgets"]):
        assert measured["4"]["whole"]["per_second"] > 0
        assert measured["4"]["stream"]["per_second"] > 0


def test_it_measures_the_booking_loop_and_audits_what_it_booked(tmp_path: Path) -> None:
    process = start("ledger", "--seconds", "0.3", "--clients", "2", "--json", temporary=tmp_path)
    output, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors
    document = json.loads(output)
    assert document["faults"] == 0
    assert document["select_1_per_second"] > 0
    assert [row["accounts"] for row in document["figures"]] == [1, 1000]
    assert all(row["pairs_per_second"] > 0 and row["reserve_p50_ms"] > 0 for row in document["figures"])
    assert list(tmp_path.iterdir()) == []


def test_interrupted_it_leaves_nothing(tmp_path: Path) -> None:
    process = start("gateway", *BRIEF, "--clients", ",".join(map(str, range(1, 100))), temporary=tmp_path)
    assert process.stderr is not None
    first_line = process.stderr.readline()
    assert first_line.startswith("1 at once, whole answers/s: ")
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 4  # generator, up, gateway, neuron
    database_url = scratch_database(family)
    assert database_url.partition("/helexa_loadtest_")[0] == settings.DATABASE_URL.rpartition("/")[0]
    psycopg.connect(database_url).close()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert output == ""
    assert "Traceback" not in errors
    assert psutil.wait_procs(family, timeout=0)[1] == []
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(database_url)


async def drive(url: str, *arguments: str, temporary: Path) -> tuple[int, str, str]:
    process = start("gateway", "--url", url, *BRIEF, "--clients", "1", *arguments, temporary=temporary)
    output, errors = await asyncio.to_thread(process.communicate, timeout=LIMIT_S)
    return process.returncode, output, errors


async def test_another_server_is_driven_and_its_wrong_answers_make_it_fail(serve: Serve, tmp_path: Path) -> None:
    def answer(number: int, streamed: bool) -> bytes:
        if streamed:
            return chunked(stream())
        return with_length(completion(33 if number == 5 else 34))

    url = await serve(answer)
    status, output, errors = await drive(url, "--path", "/", temporary=tmp_path)
    assert status == 1
    assert "1 x 33 words instead of 34" in errors
    assert "1 wrong answer" in output
    status, output, _ = await drive(url, "--path", "/", "--json", temporary=tmp_path)
    assert status == 0
    assert json.loads(output)["server"] == url


async def test_a_server_that_refuses_is_told_of_in_a_sentence(serve: Serve, tmp_path: Path) -> None:
    refusal = with_length(b'{"error":{"message":"The API key is wrong."}}', "401 Unauthorized")
    url = await serve(lambda _, __: refusal)
    status, output, errors = await drive(url, "--json", temporary=tmp_path)
    assert (status, output) == (1, "")
    assert errors == f"{url}/v1/chat/completions gives no right answer: status 401: The API key is wrong.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--clients", "0"], "--clients and --rounds must be 1 or more"),
        (["--url", "127.0.0.1:80"], "give the address of a server"),
        (["--url", "http://127.0.0.1", "--server", "uvicorn"], "leave them out"),
        (["--url", "http://127.0.0.1", "--gateways", "2"], "leave them out"),
        (["--gateways", "0"], "--gateways must be 1 or more"),
        (["--key", "sk-test"], "--key goes with --url"),
        (["--url", "http://127.0.0.1", "--budgets"], "leave one of them out"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        call_command("loadtest", "gateway", *arguments)
