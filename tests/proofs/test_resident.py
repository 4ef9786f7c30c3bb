"""That a process which keeps some of each request is found among others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from tests.proofs import fuzz
from tests.proofs.resident import Resident

#: Takes numbers of KiB, one a line; keeps so many of random bytes, and says how many it has.
_KEEPER = """
import os, sys
kept = []
for line in sys.stdin:
    kept.append(os.urandom(1024 * int(line)))
    print(len(kept), flush=True)
"""


@contextmanager
def _keeper() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _KEEPER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _keep(process: subprocess.Popen[str], kib: int) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{kib}\n")
    process.stdin.flush()
    assert process.stdout.readline()


def test_a_process_that_keeps_some_of_each_request_is_found_beside_one_that_does_not() -> None:
    with _keeper() as leaking, _keeper() as well:
        resident = Resident({"leaking": psutil.Process(leaking.pid), "well": psutil.Process(well.pid)})
        for wave in range(1, 11):
            _keep(leaking, 1000)
            _keep(well, 1000 if wave < 3 else 0)  # while it warms up
            resident.look(wave * 500)
        growth = resident.growth(after=1500)
    assert growth["leaking"] == pytest.approx(2.0, rel=0.2)
    assert growth["leaking"] > fuzz.MOST_KIB_PER_REQUEST > 0.2 > growth["well"]


def test_a_process_that_died_is_no_process_that_shrank() -> None:
    with _keeper() as process:
        resident = Resident({"one": psutil.Process(process.pid)})
        process.kill()
        process.wait()
        with pytest.raises(psutil.NoSuchProcess):
            resident.look(1)
