"""`make proof-overspend`: nobody can spend more than a cap, whatever many clients do at once on several gateways.

    python -m tests.proofs.overspend --rounds 20 --seed 1 --json

Each round has tenants of its own with caps of every kind, and clients that ask as fast as they are answered. What is
asked follows from the seed; the order in which it comes does not. Exit status 1 on any difference.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from tests.proofs import judging
from tests.proofs.asking import Seen, Wish, ask, connections
from tests.proofs.ledger import Sampler
from tests.proofs.running import Proving, proving
from tests.proofs.tenants import Cap, IssuedKey, Tenant, open_tenants

GATEWAYS = NEURONS = 2
#: What a token costs at most, for caps in dollars that hold about so many tokens.
DEAREST_USD = 1.1000903e-6
#: A refused client asks again this soon: caps are pressed on all the time.
PAUSE_S = 0.2
PROMPTS = ("hello", "Tell me of the river and the old town, please.", "☃" * 12)


@dataclass(frozen=True)
class Round:
    """Figures of one round. `fullest` is the share of their caps that budgets reached at their fullest, on average."""

    number: int
    requests: int
    streams: int
    choices_of_3: int
    default_bounds: int
    whole: int
    left: int
    refused: int
    other_errors: int
    tokens: int
    windows: int
    samples: int
    fullest: float
    audit_ok: bool
    differences: list[str]


# -- what is asked -----------------------------------------------------------------------------------


def tenants(dice: random.Random, number: int) -> list[Tenant]:
    """Caps of keys and accounts, in tokens and dollars, for balances and for windows of seconds."""

    def tokens(least: int, most: int, window: str = "balance") -> Cap:
        return Cap("tokens", dice.randint(least, most), window)

    def dollars(least: int, most: int, window: str = "balance") -> Cap:
        return Cap("usd", f"{dice.randint(least, most) * DEAREST_USD:.9f}", window)

    def rolling() -> str:
        return f"rolling:{dice.randint(1, 3)}"

    name = f"round-{number}-"
    return [
        Tenant(name + "balances", (tokens(800, 2000),), ((tokens(300, 900),), (tokens(300, 900),))),
        Tenant(name + "dollars", (dollars(800, 2000),), ((dollars(300, 900),), ())),
        Tenant(name + "windows", (tokens(400, 800, rolling()),), ((tokens(150, 400, rolling()),), ())),
        Tenant(
            name + "everything",
            (tokens(300, 600, rolling()), dollars(600, 1500, "calendar:day@Asia/Kathmandu")),
            ((tokens(500, 1500), dollars(200, 500, rolling())), (dollars(150, 400, rolling()),)),
        ),
    ]


def wish(dice: random.Random, key: IssuedKey) -> Wish:
    stream = dice.random() < 0.5
    leaves = dice.random() < 0.2
    return Wish(
        key.secret,
        stream=stream,
        n=3 if dice.random() < 0.3 else 1,
        max_tokens=None if dice.random() < 0.15 else dice.randint(1, 40),
        prompt=dice.choice(PROMPTS),
        stop="e" if dice.random() < 0.3 else None,
        seed=dice.randint(0, 10**6),
        leaves_after_chunks=dice.randint(1, 30) if leaves and stream else None,
        leaves_after_s=dice.uniform(0.02, 0.6) if leaves and not stream else None,
    )


async def press(
    keys: Sequence[IssuedKey], gateways: Sequence[str], *, clients: int, seconds: float, seed: str
) -> list[Seen]:
    """Ask from so many clients at once until the time is over, then wait for what runs."""
    until_s = time.monotonic() + seconds
    seen: list[Seen] = []

    async def client(number: int) -> None:
        dice = random.Random(f"{seed} {number}")
        key, gateway = keys[number % len(keys)], gateways[(number // len(keys)) % len(gateways)]
        async with connections() as http:
            while time.monotonic() < until_s:
                one = await ask(http, gateway, wish(dice, key))
                seen.append(one)
                if one.end == "error":
                    await asyncio.sleep(dice.uniform(0, 2 * PAUSE_S))

    await asyncio.gather(*(client(number) for number in range(clients)))
    return seen


# -- a round -----------------------------------------------------------------------------------------


def run_round(up: Proving, number: int, *, seed: int, clients: int, seconds: float) -> Round:
    dice = random.Random(f"{seed} {number}")
    keys = open_tenants(up, tenants(dice, number))
    gateways = [gateway.url for gateway in up.gateways()]
    began, windows_before = up.ledger.now(), up.ledger.windows_used()
    with Sampler(up.database_url) as sampler:
        seen = asyncio.run(press(keys, gateways, clients=clients, seconds=seconds, seed=f"{seed} {number}"))
        up.wait_nothing_open()
    booked = up.ledger.booked(began)
    audit = up.audit()
    differences = [
        *sampler.overfull,
        *up.ledger.overshoot(),
        *judging.differences(seen, booked, {key.secret: key.key_id for key in keys}),
        *judging.of_request(up, seen, booked),
        *audit["differences"],
        *(_unexpected(one) for one in seen if one.end == "cut" or (one.end == "error" and one.status != 429)),
    ]
    return Round(
        number=number,
        requests=len(seen),
        streams=sum(one.wish.stream for one in seen),
        choices_of_3=sum(one.wish.n == 3 for one in seen),
        default_bounds=sum(one.wish.max_tokens is None for one in seen),
        whole=sum(one.end == "whole" for one in seen),
        left=sum(one.end == "left" for one in seen),
        refused=sum(one.status == 429 for one in seen),
        other_errors=sum(one.end in ("error", "cut", "malformed") and one.status != 429 for one in seen),
        tokens=sum(one.tokens for one in booked.values()),
        windows=up.ledger.windows_used() - windows_before,
        samples=sampler.samples,
        fullest=round(sum(sampler.fullest.values()) / len(sampler.fullest), 3) if sampler.fullest else 0.0,
        audit_ok=audit["ok"],
        differences=differences,
    )


def _unexpected(seen: Seen) -> str:
    return f"Nothing died, and yet request {seen.request_id} got {seen.status or seen.note}: {seen.error}."


# -- the proof ---------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make proof-overspend", description="Show that no cap can be overspent.")
    parser.add_argument("--rounds", type=int, default=20, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="what is asked follows from it (default %(default)s)")
    parser.add_argument("--clients", type=int, default=64, help="how many ask at once (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=8.0, help="of one round (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout and nothing else")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what was started, as Ctrl-C does
    progress = Console(stderr=True)
    rounds = []
    with proving(gateways=GATEWAYS, workers=NEURONS) as up:
        for number in range(1, options.rounds + 1):
            rounds.append(run_round(up, number, seed=options.seed, clients=options.clients, seconds=options.seconds))
            progress.print(_line(rounds[-1], options.rounds), highlight=False, soft_wrap=True)
            for sentence in rounds[-1].differences[:20]:
                progress.print(f"  {sentence}", highlight=False, markup=False, soft_wrap=True)
    totals = _totals(rounds)
    if options.json:
        print(json.dumps({"seed": options.seed, "totals": totals, "rounds": [asdict(one) for one in rounds]}))
    else:
        _show(totals, seed=options.seed)
    return 1 if totals["differences"] else 0


def _line(one: Round, of: int) -> str:
    verdict = f"{len(one.differences)} DIFFERENCES" if one.differences else "no difference"
    return (
        f"round {one.number}/{of}: {one.requests} requests, {one.whole} whole, {one.left} left, {one.refused} refused, "
        f"{one.tokens} tokens in {one.windows} windows, budgets at most {one.fullest:.0%} full in {one.samples} looks: "
        f"{verdict}"
    )


def _totals(rounds: Sequence[Round]) -> dict[str, float]:
    totals: Counter[str] = Counter()
    for one in rounds:
        for name, value in asdict(one).items():
            if isinstance(value, int) and name not in ("number", "audit_ok"):
                totals[name] += value
    return {
        "rounds": len(rounds),
        **totals,
        "fullest": round(sum(one.fullest for one in rounds) / len(rounds), 3),
        "audits_ok": sum(one.audit_ok for one in rounds),
        "differences": sum(len(one.differences) for one in rounds),
    }


def _show(totals: dict[str, float], *, seed: int) -> None:
    table = Table("what", title=f"proof-overspend, seed {seed}")
    table.add_column("figure", justify="right")
    for name, value in totals.items():
        table.add_row(name.replace("_", " "), f"{value:,}")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
