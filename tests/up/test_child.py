"""How `up` keeps one process alive and how it ends it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from helexa.embedded.program import Program
from helexa.home import StartError
from helexa.up import child as child_module
from helexa.up.child import Child
from helexa.up.terminal import Terminal

LIMIT_S = 60
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)


def child_of(text: str, folder: Path, **options: object) -> Child:
    program = Program([sys.executable, "-u", "-c", text], dict(os.environ))
    return Child("runner", program, logs=folder, terminal=Terminal(), **options)  # type: ignore[arg-type]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.01)


async def end(child: Child, task: asyncio.Task[None], *, patience_s: float = LIMIT_S) -> None:
    await child.stop(patience_s, asyncio.Event())
    async with asyncio.timeout(LIMIT_S):
        await task


async def test_it_starts_a_dead_child_again_after_growing_pauses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    child = child_of("raise SystemExit(3)", tmp_path)
    task = asyncio.create_task(child.run())
    await until(lambda: child.deaths == 3)
    await end(child, task)
    said = capsys.readouterr().err
    assert [f"(exit status 3) and starts again in {pause} s" in said for pause in ("0.5", "1", "2")] == [True] * 3


async def test_a_child_killed_by_anybody_is_back_at_once(tmp_path: Path) -> None:
    child = child_of("import time; time.sleep(60)", tmp_path)
    task = asyncio.create_task(child.run())
    await until(lambda: child.pid)
    first = child.pid
    assert first is not None
    psutil.Process(first).kill()
    await until(lambda: child.pid not in (None, first))
    await end(child, task)


async def test_after_a_minute_of_life_the_pause_is_short_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(child_module, "STEADY_S", 0.0)  # any life counts as long
    child = child_of("pass", tmp_path)
    task = asyncio.create_task(child.run())
    await until(lambda: child.deaths == 2)
    await end(child, task)
    assert capsys.readouterr().err.count("starts again in 0.5 s") == 2


async def test_without_restart_the_death_is_an_error_that_names_the_log(tmp_path: Path) -> None:
    child = child_of("import os; os.abort()", tmp_path, restart=False)
    with pytest.raises(StartError, match=rf"runner ended \(killed by SIGABRT\): see {tmp_path}/runner\.log"):
        await child.run()


async def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    program = Program([str(tmp_path / "nothing")], {})
    with pytest.raises(StartError, match="cannot be started"):
        await Child("runner", program, logs=tmp_path, terminal=Terminal()).run()


async def test_what_it_prints_is_logged_and_shown_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "import sys; print('out'); print('err \\u00e9', file=sys.stderr); sys.stdout.buffer.write(b'\\xff rest')"
    child = child_of(text, tmp_path, restart=False)
    with pytest.raises(StartError):
        await child.run()
    assert (tmp_path / "runner.log").read_text() == "out\nerr é\n\ufffd rest\n"
    assert capsys.readouterr().err == "runner | out\nrunner | err é\nrunner | \ufffd rest\n"
    assert list(child.tail) == ["out", "err é", "\ufffd rest"]


async def test_its_log_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "LOG_BYTES", 10_000)
    child = child_of("for number in range(5000): print('a line of some length', number)", tmp_path, restart=False)
    with pytest.raises(StartError):
        await child.run()
    logs = list(tmp_path.glob("runner.log*"))
    assert len(logs) == 1 + child_module.OLD_LOGS
    assert sum(log.stat().st_size for log in logs) <= 10_000 * len(logs)
    assert (tmp_path / "runner.log").read_text().endswith("a line of some length 4999\n")


async def test_a_line_without_end_does_not_grow_in_memory(tmp_path: Path) -> None:
    child = child_of("print('x' * 1_000_000, end='')", tmp_path, restart=False)
    with pytest.raises(StartError):
        await child.run()
    assert sum(map(len, child.tail)) == 1_000_000
    assert max(map(len, child.tail)) <= 2 * child_module.LONGEST_LINE_BYTES


async def test_it_gives_a_child_time_to_end_by_itself(tmp_path: Path) -> None:
    text = (
        "import signal, time\n"
        "def end(*_): time.sleep(0.3); print('done'); raise SystemExit\n"
        "signal.signal(signal.SIGTERM, end); print('ready'); time.sleep(60)"
    )
    child = child_of(text, tmp_path)
    task = asyncio.create_task(child.run())
    await until(lambda: "ready" in child.tail)
    await end(child, task)
    assert child.tail[-1] == "done"


async def test_a_child_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "LAST_PATIENCE_S", 0.2)
    child = child_of(STUBBORN, tmp_path)
    task = asyncio.create_task(child.run())
    await until(lambda: child.tail)
    pid = child.pid
    assert pid is not None
    await end(child, task, patience_s=0.2)
    assert not psutil.pid_exists(pid)


async def test_hurry_cuts_the_patience_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "LAST_PATIENCE_S", 0.2)
    child = child_of(STUBBORN, tmp_path)
    task = asyncio.create_task(child.run())
    await until(lambda: child.tail)
    hurry = asyncio.Event()
    stopping = asyncio.create_task(child.stop(60, hurry))
    began_s = time.monotonic()
    hurry.set()
    await asyncio.gather(stopping, task)
    assert time.monotonic() - began_s < 30


async def test_what_the_child_started_goes_with_it(tmp_path: Path) -> None:
    text = (
        "import subprocess, sys, time\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid); time.sleep(60)"
    )
    child = child_of(text, tmp_path)
    task = asyncio.create_task(child.run())
    await until(lambda: child.tail)
    grandchild = psutil.Process(int(child.tail[0]))
    await end(child, task)
    await until(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)


async def test_stopping_during_the_pause_starts_nothing_more(tmp_path: Path) -> None:
    child = child_of("print('lived')", tmp_path)
    task = asyncio.create_task(child.run())
    await until(lambda: child.deaths == 1)
    await end(child, task)
    assert list(child.tail) == ["lived"]


async def test_it_prepares_before_every_start_and_hears_of_every_end(tmp_path: Path) -> None:
    prepared: list[int] = []
    ended: list[int] = []
    child = child_of("pass", tmp_path, prepare=lambda: prepared.append(1), after_end=ended.append)
    task = asyncio.create_task(child.run())
    await until(lambda: child.deaths == 2)
    await end(child, task)
    assert len(prepared) == len(ended) == 2
    assert len(set(ended)) == 2
