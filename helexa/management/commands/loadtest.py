"""`manage.py loadtest`: how many answers a second, and how soon they begin and end."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import msgspec
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.table import Table

from accounts.keys import new_secret
from helexa.home import StartError
from helexa.loadtest import ledger as ledger_load
from helexa.loadtest import processes, scratch
from helexa.loadtest.answers import WORDS
from helexa.loadtest.generator import Figures, Plan, Result
from helexa.settings import env
from helexa.up.plan import SERVERS


class Command(BaseCommand):
    help = "Measure a server under load, and check every answer it gives."
    requires_system_checks: list[str] = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        kwargs["epilog"] = "example: manage.py loadtest gateway --server uvicorn --clients 1,32 --json"
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_subparsers(dest="what", required=True, parser_class=argparse.ArgumentParser)
        _add_gateway(what)
        _add_ledger(what)

    def handle(self, *args: Any, **options: Any) -> None:
        # SIGTERM ends it as Ctrl-C does: what was started ends, what was made is dropped.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            if options["what"] == "ledger":
                self._ledger(options)
            else:
                self._gateway(options)
        except StartError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            sys.exit(130)

    def _gateway(self, options: dict[str, Any]) -> None:
        _check(options)
        with ExitStack() as stack:
            plan = self._plan(stack, options)
            result = processes.measure(plan)
        if result is None:
            sys.exit(1)
        self._print(options["url"] or options["server"] or SERVERS[0], result, as_json=options["json"])
        if result.faults:
            sys.exit(1)

    def _ledger(self, options: dict[str, Any]) -> None:
        _check_load(options)
        with _own_database() as database_url:
            result = ledger_load.measure(database_url, clients=options["clients"], seconds=options["seconds"])
        self._print_ledger(result, as_json=options["json"])
        if result.faults:
            sys.exit(1)

    def _plan(self, stack: ExitStack, options: dict[str, Any]) -> Plan:
        url, key, model = options["url"], options["key"], options["model"]
        if url is None:
            key, model = new_secret(), "echo"
            url = stack.enter_context(_own_gateway(options["server"] or SERVERS[0], options["gateways"], key=key))
            if options["budgets"]:
                processes.set_caps(url, key)
        return Plan(
            url=url.rstrip("/"),
            path=options["path"],
            key=key,
            model=model,
            clients=options["clients"],
            seconds=options["seconds"],
            rounds=options["rounds"],
            also_anonymous=options["budgets"],
        )

    def _print(self, server: str, result: Result, *, as_json: bool) -> None:
        errors = sum(result.faults.values())
        for fault, times in result.faults.items():
            self.stderr.write(f"{times} x {fault}")
        if as_json:
            document = {"server": server, "clients": msgspec.to_builtins(result.clients), "errors": errors}
            if result.anonymous:
                document["without_budgets"] = msgspec.to_builtins(result.anonymous)
            self.stdout.write(json.dumps(document))
            return
        console = Console()
        console.print(_table(f"{server}, with caps" if result.anonymous else server, result.clients))
        if result.anonymous:
            console.print(_table(f"{server}, without a key", result.anonymous))
        console.print(f"{errors or 'no'} wrong answer{'' if errors == 1 else 's'}")

    def _print_ledger(self, result: ledger_load.Result, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(msgspec.to_builtins(result)))
            return
        table = Table(
            "accounts",
            title="reserve and settle",
            caption=f"SELECT 1: {result.select_1_per_second:g} a second; fsync {result.fsync}, "
            f"synchronous_commit {result.synchronous_commit}",
        )
        for column in ("clients", "pairs a second", "reserve p50 / p99 ms"):
            table.add_column(column, justify="right")
        for row in result.figures:
            times = f"{row.reserve_p50_ms} / {row.reserve_p99_ms}"
            table.add_row(str(row.accounts), str(row.clients), f"{row.pairs_per_second:g}", times)
        console = Console()
        console.print(table)
        console.print("the books add up" if not result.faults else f"the books do not add up: {result.faults} faults")


def _table(title: str, measured: dict[str, Figures]) -> Table:
    table = Table("clients", "answers", title=title, caption="p50 / p99 in ms, of the best round")
    for column in ("a second", "first content", "end"):
        table.add_column(column, justify="right")
    for clients, figures in measured.items():
        whole, stream = figures.whole, figures.stream
        table.add_row(clients, "whole", f"{whole.per_second:g}", "", f"{whole.p50_ms} / {whole.p99_ms}")
        table.add_row(
            "",
            "streamed",
            f"{stream.per_second:g}",
            f"{stream.first_token_p50_ms} / {stream.first_token_p99_ms}",
            f"{stream.p50_ms} / {stream.p99_ms}",
        )
    return table


def _add_gateway(what: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    gateway = what.add_parser(
        "gateway",
        help="whole answers and streams a second through a gateway",
        description=(
            "Start a gateway and an echo neuron on a scratch database, and measure whole answers and streams of "
            f"{WORDS} content chunks a second, the time to the first content and to the end. The generator runs "
            "on the same cores. The best of the rounds counts. Exit status 1 if any answer was wrong."
        ),
        epilog="example: manage.py loadtest gateway --url http://127.0.0.1:31313 --key sk-helexa-... --json",
    )
    gateway.add_argument(
        "--url",
        help=f"drive this server and start nothing; asked for {WORDS} tokens it must answer with {WORDS} words, "
        "as the echo harness does",
    )
    gateway.add_argument("--key", help="the API key for --url")
    gateway.add_argument("--model", default="echo", help="the model for --url (default %(default)s)")
    gateway.add_argument("--path", default="/v1/chat/completions", help="the path for --url (default %(default)s)")
    gateway.add_argument("--server", choices=SERVERS, help="what the gateway runs under (default daphne)")
    gateway.add_argument("--gateways", type=int, default=1, help="how many share the port (default %(default)s)")
    gateway.add_argument(
        "--budgets",
        action="store_true",
        help="show the price of money: measure with a key that has caps and, round by round in turn, without any key",
    )
    _add_clients(gateway)
    gateway.add_argument("--seconds", type=float, default=4.0, help="length of a round (default 4)")
    gateway.add_argument("--rounds", type=int, default=3, help="rounds of each measurement (default 3)")
    gateway.add_argument("--json", action="store_true", help="one JSON document on stdout and nothing else")


def _add_ledger(what: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    ledger = what.add_parser(
        "ledger",
        help="requests a second that one booking loop reserves and settles",
        description=(
            "Reserve and settle on a scratch database through a gateway's booking loop, with entries, lines, roll-ups "
            f"and the check of the key: on one account that every request meets, and spread over {ledger_load.ACCOUNTS}"
            ". Exit status 1 if the books do not add up."
        ),
        epilog="example: manage.py loadtest ledger --seconds 5 --json",
    )
    _add_clients(ledger)
    ledger.add_argument("--seconds", type=float, default=4.0, help="length of a measurement (default 4)")
    ledger.add_argument("--json", action="store_true", help="one JSON document on stdout and nothing else")


def _add_clients(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--clients",
        type=_numbers,
        default=[1, 32],
        metavar="N,N",
        help="how many ask at once, one measurement each (default 1,32)",
    )


@contextmanager
def _own_gateway(server: str, gateways: int, *, key: str) -> Iterator[str]:
    """The URL of gateways on scratch space of the servers that are there, or on embedded ones where none are."""
    database_url, redis_url = settings.DATABASE_URL, settings.REDIS_URL
    is_given = bool(env.str("DATABASE_URL", default="") or env.str("REDIS_URL", default=""))
    if not is_given and not (database_url and redis_url and scratch.answers(database_url, redis_url)):
        database_url = redis_url = None  # `up` has never run here, or does not run now
    with ExitStack() as stack:
        if database_url is not None:
            database_url = stack.enter_context(scratch.scratch_database(database_url))
        if redis_url is not None:
            redis_url = stack.enter_context(scratch.scratch_redis(redis_url))
        yield stack.enter_context(
            processes.gateway(server=server, gateways=gateways, key=key, database_url=database_url, redis_url=redis_url)
        )


@contextmanager
def _own_database() -> Iterator[str]:
    """The URL of a scratch database, migrated: on the server that is there, or on an embedded one where none is."""
    with ExitStack() as stack:
        server = settings.DATABASE_URL
        if server is None or not (env.str("DATABASE_URL", default="") or scratch.has_database(server)):
            server = stack.enter_context(processes.postgres())
        database_url = stack.enter_context(scratch.scratch_database(server))
        processes.migrate(database_url)
        yield database_url


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _check(options: dict[str, Any]) -> None:
    """Raises CommandError for what cannot be measured."""
    _check_load(options)
    if options["gateways"] < 1:
        raise CommandError("--gateways must be 1 or more.")
    if options["url"] is None:
        if options["key"] is not None:
            raise CommandError("--key goes with --url: the load test makes a key for the gateway that it starts.")
        return
    if options["budgets"]:
        raise CommandError("--budgets sets caps, and nothing is set on the server of --url: leave one of them out.")
    if options["server"] is not None or options["gateways"] > 1:
        raise CommandError(
            "--server and --gateways say what to start, and with --url nothing is started: leave them out."
        )
    address = urlsplit(options["url"])
    if address.scheme not in ("http", "https") or not address.hostname:
        raise CommandError(f"--url is {options['url']!r}: give the address of a server, say http://127.0.0.1:31313.")


def _check_load(options: dict[str, Any]) -> None:
    if min(options["clients"]) < 1 or options["seconds"] <= 0 or options.get("rounds", 1) < 1:
        raise CommandError("--clients and --rounds must be 1 or more, and --seconds more than 0.")
