"""`manage.py fleet`: what runs where, and loading and unloading by hand. All of it is asked live."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import redis
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from redis.exceptions import RedisError
from rich.console import Console
from rich.table import Table

from fleet.live import LiveNeuron, live_gateways, live_neurons
from fleet.orders import choose, held, order_load, order_unload
from fleet.reports import ModelReport
from fleet.status import describe_models, describe_neuron

#: A neuron takes an order within its next report or two; after this long it has not heard it.
HEARD_LIMIT_S = 30.0
POLL_PERIOD_S = 0.3

_COLOURS = {"loaded": "green", "loading": "yellow", "failed": "red"}


class Command(BaseCommand):
    help = "Show the fleet, and load and unload models on its neurons."
    requires_system_checks: list[str] = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        kwargs["epilog"] = "example: manage.py fleet load gemma-3-270m --neuron local"
        kwargs["formatter_class"] = argparse.RawDescriptionHelpFormatter
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        as_json = argparse.ArgumentParser(add_help=False)
        as_json.add_argument("--json", action="store_true", help="one JSON document on stdout and nothing else")
        what = parser.add_subparsers(dest="what", required=True, parser_class=argparse.ArgumentParser)
        what.add_parser("status", parents=[as_json], help="gateways, neurons, their devices and models")
        what.add_parser("models", parents=[as_json], help="the catalogue and where each model is")
        for name, help_text in (
            ("load", "load a model of the catalogue"),
            ("unload", "unload a model, and pin it no longer"),
        ):
            order = what.add_parser(name, parents=[as_json], help=help_text)
            order.add_argument("model", help="its id, as `fleet models` lists it")
            order.add_argument("--neuron", help="where (not needed with a single healthy neuron)")

    def handle(self, *args: Any, what: str, **options: Any) -> None:
        if settings.REDIS_URL is None:
            raise CommandError("No Redis is known: start `make up`, or set REDIS_URL.")
        try:
            with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=5, socket_connect_timeout=2) as client:
                getattr(self, f"_{what}")(client, **options)
        except ValidationError as refusal:
            raise CommandError(_naming_the_option(refusal)) from None
        except (RedisError, OSError) as fault:
            raise CommandError(f"Redis does not answer: {fault}. Is `make up` running?") from fault

    # -- looking -------------------------------------------------------------------------------

    def _status(self, client: redis.Redis, *, json: bool, **_: Any) -> None:
        gateways, neurons = live_gateways(client), live_neurons(client)
        if json:
            self._print_json(
                {"gateways": [vars(one) for one in gateways], "neurons": [describe_neuron(one) for one in neurons]}
            )
            return
        table = Table(
            "neuron", "health", "device", "memory free / total", "model", "status", "in flight", "queued", "context"
        )
        for neuron in neurons:
            for row in _status_rows(neuron):
                table.add_row(*row)
        console = _console()
        for one in gateways:
            console.print(f"gateway {one.url}  pid {one.pid}")
        console.print(table if neurons else "No neuron has reported: start one with `manage.py runworker --name NAME`.")

    def _models(self, client: redis.Redis, *, json: bool, **_: Any) -> None:
        rows = describe_models(live_neurons(client))
        if json:
            self._print_json({"models": rows})
            return
        table = Table("model", "source", "pinned on", "where")
        for row in rows:
            where = ", ".join(
                f"{at['node']} ({at['status']}{' ' + at['progress'] if at['progress'] else ''})"
                for at in row["locations"]
            )
            table.add_row(row["id"], row["source"], ", ".join(row["pinned_on"]), where or "-")
        _console().print(table if rows else "The catalogue is empty: add a model in the admin.")

    # -- ordering --------------------------------------------------------------------------------

    def _load(self, client: redis.Redis, *, model: str, neuron: str | None, json: bool, **_: Any) -> None:
        target, earlier = order_load(live_neurons(client), model, neuron)
        if earlier is None or earlier.status != "loaded":
            outcome = self._follow_load(client, target.report.name, model, quiet=json, failed_before=earlier)
            if outcome.status == "failed":
                raise CommandError(f"{model} could not be loaded on {target.report.name}: {outcome.progress}")
        self._report_order({"model": model, "neuron": target.report.name, "status": "loaded"}, as_json=json)

    def _follow_load(
        self, client: redis.Redis, neuron: str, model: str, *, quiet: bool, failed_before: ModelReport | None
    ) -> ModelReport:
        """Wait until the neuron reports the model loaded or failed, showing what it is doing meanwhile."""
        shown, heard = "", False
        until_s = time.monotonic() + HEARD_LIMIT_S
        while True:
            current = held(choose(live_neurons(client), neuron), model)
            heard = heard or (current is not None and current != failed_before)
            if current is not None and heard and current.status != "loading":
                return current
            if not heard and time.monotonic() > until_s:
                raise CommandError(f"Neuron {neuron} has not begun to load {model} within {HEARD_LIMIT_S:.0f} s.")
            if current is not None and current.progress != shown and not quiet:
                shown = current.progress
                self.stderr.write(f"{model}: {shown}")
            time.sleep(POLL_PERIOD_S)

    def _unload(self, client: redis.Redis, *, model: str, neuron: str | None, json: bool, **_: Any) -> None:
        name = order_unload(live_neurons(client), model, neuron).report.name
        until_s = time.monotonic() + HEARD_LIMIT_S
        while held(choose(live_neurons(client), name), model) is not None:
            if time.monotonic() > until_s:
                raise CommandError(f"Neuron {name} still holds {model} after {HEARD_LIMIT_S:.0f} s; it may be loading.")
            time.sleep(POLL_PERIOD_S)
        self._report_order({"model": model, "neuron": name, "status": "unloaded"}, as_json=json)

    def _report_order(self, outcome: dict[str, str], *, as_json: bool) -> None:
        if as_json:
            self._print_json(outcome)
        else:
            self.stdout.write("{model} is {status} on {neuron}.".format(**outcome))

    def _print_json(self, document: object) -> None:
        self.stdout.write(json.dumps(document))


def _console() -> Console:
    """A terminal as wide as it is; on a pipe wide enough for the table."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def _naming_the_option(refusal: ValidationError) -> str:
    field, messages = next(iter(refusal.message_dict.items()))
    return f"{'--neuron' if field == 'neuron' else field.upper()}: {messages[0]}"


def _status_rows(neuron: LiveNeuron) -> list[tuple[str, ...]]:
    """Table rows of a neuron: its devices, each followed by what it holds."""
    health = "[green]healthy[/]" if neuron.healthy else f"[red]silent for {neuron.age_s:.0f} s[/]"
    rows: list[tuple[str, ...]] = []
    for device in neuron.report.devices:
        memory = f"{device.memory_free_mb} / {device.memory_total_mb} MiB"
        lead = (neuron.report.name, health, f"{device.name} {device.label}", device.unusable_reason or memory)
        held = [model for model in neuron.report.models if model.device == device.name]
        for model in held or (None,):
            status = f"[{_COLOURS[model.status]}]{model.status}[/] {model.progress}" if model else ""
            work = (str(model.in_flight), str(model.queue_depth), _context(model)) if model else ("", "", "")
            rows.append((*lead, model.id if model else "-", status, *work))
            lead = ("", "", "", "")
    return rows


def _context(model: ModelReport) -> str:
    return f"{model.limit.context:,} (by {model.limit.bound_by})" if model.limit else "-"
