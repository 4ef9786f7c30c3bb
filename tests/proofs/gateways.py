"""`make proof-gateways`: what several gateways on one port carry, each held to a part of a core.

    python -m tests.proofs.gateways --gateways 1,2,4 --share 0.2

Held to so little each is its own bottleneck, so that it shows on two cores what more gateways bring on more of them.
Everything else has what is left of the machine. Needs Linux control groups that may be written to.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.table import Table

from helexa.loadtest import processes
from helexa.loadtest.generator import Figures, Plan
from helexa.up.plan import SERVERS
from tests.processes import children_of

_GROUPS = Path("/sys/fs/cgroup")
_FIRST_VERSION = (_GROUPS / "cpu").is_dir()
_ROOT = _GROUPS / "cpu" if _FIRST_VERSION else _GROUPS
_PERIOD_US = 10_000  # a tenth of the usual one: a gateway that has used up its share stands still for less


def can_hold() -> bool:
    """Whether groups can be made here, and bounded: shown on a process that waits."""
    with subprocess.Popen(["sleep", "60"]) as waiting:
        try:
            with held_to(1.0, waiting.pid):
                return True
        except OSError:
            return False
        finally:
            waiting.kill()


@contextmanager
def held_to(share: float, pid: int) -> Iterator[None]:
    """Let a process use so much of a core, until the block ends. Takes either version of control groups."""
    group = _ROOT / f"helexa-proof-{pid}"
    group.mkdir()
    try:
        quota = round(share * _PERIOD_US)
        if _FIRST_VERSION:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {_PERIOD_US}")
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        with suppress(ProcessLookupError):  # it has ended
            (_ROOT / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def carried(gateways: int, options: argparse.Namespace) -> Figures:
    """What so many gateways answer a second, with two caps. Raises RuntimeError for a wrong answer."""
    key = f"sk-helexa-{secrets.token_urlsafe(32)}"
    before = children_of(os.getpid(), "up")  # tests have others
    with (
        processes.gateway(server=options.server, key=key, gateways=gateways, database_url=None, redis_url=None) as url,
        ExitStack() as groups,
    ):
        processes.set_caps(url, key)
        [up] = [one for one in children_of(os.getpid(), "up") if one not in before]
        for gateway in children_of(up.pid, "serve"):
            groups.enter_context(held_to(options.share, gateway.pid))
        result = processes.measure(
            Plan(
                url=url,
                path="/v1/chat/completions",
                key=key,
                model="echo",
                clients=[options.clients],
                seconds=options.seconds,
                rounds=options.rounds,
            )
        )
    if result is None or result.faults:
        raise RuntimeError(f"wrong answers: {result.faults if result else 'none was right'}")
    return result.clients[str(options.clients)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make proof-gateways", description="Measure several gateways on one port.")
    parser.add_argument("--gateways", type=lambda text: [int(part) for part in text.split(",")], default=[1, 2, 4])
    parser.add_argument("--share", type=float, default=0.2, help="of a core, for each (default %(default)s)")
    parser.add_argument("--server", choices=SERVERS, default=SERVERS[0], help="default %(default)s")
    parser.add_argument("--clients", type=int, default=96, help="default %(default)s")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a round (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="the best counts (default %(default)s)")
    options = parser.parse_args(arguments)
    if not can_hold():
        parser.error("control groups cannot be made here: it takes root, on Linux")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what was started, as Ctrl-C does
    _show({gateways: carried(gateways, options) for gateways in options.gateways}, options)
    return 0


def _show(figures: dict[int, Figures], options: argparse.Namespace) -> None:
    title = f"gateways on {options.server}, each with {options.share:.0%} of a core, {options.clients} clients"
    table = Table("gateways", title=title)
    for column in ("whole / s", "times", "streams / s", "times"):
        table.add_column(column, justify="right")
    first = next(iter(figures.values()))
    for gateways, each in figures.items():
        whole, stream = each.whole.per_second, each.stream.per_second
        times = [f"{now / before:.2f}" for now, before in zip((whole, stream), _both(first), strict=True)]
        table.add_row(str(gateways), f"{whole:g}", times[0], f"{stream:g}", times[1])
    Console().print(table)


def _both(figures: Figures) -> tuple[float, float]:
    return figures.whole.per_second, figures.stream.per_second


if __name__ == "__main__":
    sys.exit(main())
