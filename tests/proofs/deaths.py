"""`make proof-kill`: whatever dies under load, what left a neuron is billed once, and nobody waits in vain.

    python -m tests.proofs.deaths --rounds 50 --seed 1 --json

Each round kills with SIGKILL at a moment of its own; after the rounds come the cases that have a name (named.py). Which
parts die when follows from the seed. Exit status 1 on any difference.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import chain

import psutil
from rich.console import Console
from rich.table import Table

from tests.proofs import named
from tests.proofs.load import Load, open_keys
from tests.proofs.outcomes import Outcome, outcome
from tests.proofs.running import Proving, proving
from tests.proofs.tenants import IssuedKey

GATEWAYS = NEURONS = 2
CLIENTS = 16
#: What may die, and the words by which `up`'s children are known.
VICTIMS = {
    "gateway": ("serve",),
    "neuron": ("runworker",),
    "Redis": ("valkey",),
    "PostgreSQL": ("postgres",),
    "gateway and neuron": ("serve", "runworker"),
}
#: Load before the death, at random in this range, and after all is well again.
BEFORE_S = (0.5, 4.0)
AFTERWARDS_S = 1.0


def victims(up: Proving, dice: random.Random, kind: str) -> list[psutil.Process]:
    return [dice.choice(up.children(word)) for word in VICTIMS[kind]]


async def round_of(up: Proving, keys: Sequence[IssuedKey], kind: str, *, seed: str, clients: int = CLIENTS) -> Outcome:
    """One death under load, from the first request to books that are closed and audited."""
    dice = random.Random(seed)
    before, neurons = up.gateways(), {neuron.name: neuron.boot_id for neuron in up.neurons()}
    began = up.ledger.now()
    async with Load(keys, [gateway.url for gateway in before], clients=clients, seed=seed) as load:
        await asyncio.sleep(dice.uniform(*BEFORE_S))
        dying = victims(up, dice, kind)
        gone = {process.pid for process in dying} | {neurons[name] for name in neurons.keys() & _names(dying)}
        died_s = time.monotonic()
        for process in dying:
            process.kill()
        dead = {one.url for one in before if one.pid in gone}
        load.urls = [one.url for one in before if one.url not in dead]
        await asyncio.to_thread(up.wait_well, without=gone)
        load.urls = [gateway.url for gateway in up.gateways()]
        well_s = await load.answered(clients, since_s=time.monotonic()) - died_s
        await asyncio.sleep(AFTERWARDS_S)
    return await asyncio.to_thread(
        outcome, up, kind, load.seen, keys, began=began, died_s=died_s, well_after_s=well_s, dead_gateways=dead
    )


def _names(processes: Sequence[psutil.Process]) -> set[str]:
    """The words of their command lines, among which is a neuron's name."""
    return {word for process in processes for word in process.cmdline()}


# -- the proof ---------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make proof-kill", description="Show that whatever dies, the books are right."
    )
    parser.add_argument("--rounds", type=int, default=50, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="what dies when follows from it (default %(default)s)")
    parser.add_argument("--clients", type=int, default=CLIENTS, help="how many ask at once (default %(default)s)")
    parser.add_argument("--only", choices=["rounds", "named"], help="leave the other half out")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout and nothing else")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what was started, as Ctrl-C does
    progress = Console(stderr=True)
    outcomes = []
    with proving(gateways=GATEWAYS, workers=NEURONS) as up:
        deaths = _deaths(up, options) if options.only != "named" else iter(())
        cases = named.cases(up, clients=options.clients) if options.only != "rounds" else iter(())
        for number, one in enumerate(chain(deaths, cases), start=1):
            outcomes.append(one)
            progress.print(f"{number}: {one}", highlight=False, markup=False, soft_wrap=True)
            for sentence in one.differences[:20]:
                progress.print(f"  {sentence}", highlight=False, markup=False, soft_wrap=True)
    if options.json:
        print(json.dumps({"seed": options.seed, "outcomes": [asdict(one) for one in outcomes]}))
    else:
        _show(outcomes, seed=options.seed)
    return 1 if any(one.differences for one in outcomes) else 0


def _deaths(up: Proving, options: argparse.Namespace) -> Iterator[Outcome]:
    dice = random.Random(options.seed)
    keys = open_keys(up, "deaths")
    for number in range(1, options.rounds + 1):
        kind = dice.choice(list(VICTIMS))
        yield asyncio.run(round_of(up, keys, kind, seed=f"{options.seed} {number}", clients=options.clients))


def _show(outcomes: Sequence[Outcome], *, seed: int) -> None:
    table = Table("what", title=f"proof-kill, seed {seed}", caption="seconds are the worst, the rest sums")
    for column in (
        "times",
        "requests",
        "whole",
        "errors",
        "slowest",
        "cut",
        "well after",
        "closed after",
        "tokens",
        "estimated",
        "differences",
    ):
        table.add_column(column, justify="right")
    for what in dict.fromkeys(one.what for one in outcomes):
        alike = [one for one in outcomes if one.what == what]
        table.add_row(
            what,
            str(len(alike)),
            *map(
                str,
                [
                    sum(one.requests for one in alike),
                    sum(one.whole for one in alike),
                    sum(one.errors for one in alike),
                    f"{max(one.slowest_error_s for one in alike)} s",
                    sum(one.cut for one in alike),
                    f"{max(one.well_after_s for one in alike)} s",
                    f"{max(one.closed_after_s for one in alike)} s",
                    sum(one.billed_tokens for one in alike),
                    sum(one.estimated for one in alike),
                    sum(len(one.differences) for one in alike),
                ],
            ),
        )
    Console(width=160).print(table)


if __name__ == "__main__":
    sys.exit(main())
