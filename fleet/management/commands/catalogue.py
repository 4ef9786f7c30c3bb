"""`manage.py catalogue`: what models there are and what they cost."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, OperationalError
from rich.console import Console
from rich.table import Table

from fleet.models import Profile
from fleet.prices import ModelPrices, parse_price, set_prices
from fleet.status import describe_prices

EXAMPLE = """\
example:
  manage.py catalogue price qwen3-4b --input 0.15 --output 0.60 --cache-read 0.02

Prices are dollars per 1M tokens. They hold for requests that come after; what is running is billed by the prices it
came with. Cached input without a price of its own costs --input, reasoning --output.
"""


class Command(BaseCommand):
    help = "Show the catalogue, and set what its models cost."
    requires_system_checks: list[str] = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        kwargs["epilog"] = EXAMPLE
        kwargs["formatter_class"] = argparse.RawDescriptionHelpFormatter
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        as_json = argparse.ArgumentParser(add_help=False)
        as_json.add_argument("--json", action="store_true", help="one JSON document on stdout and nothing else")
        what = parser.add_subparsers(dest="what", required=True, parser_class=argparse.ArgumentParser)
        what.add_parser("list", parents=[as_json], help="every model with its source and prices")
        price = what.add_parser("price", parents=[as_json], help="set the prices of a model, all of them at once")
        price.add_argument("model", help="its id, as `catalogue list` shows it")
        price.add_argument("--input", required=True, metavar="USD", help="per 1M tokens of the prompt")
        price.add_argument("--output", required=True, metavar="USD", help="per 1M tokens of the answer")
        price.add_argument("--cache-read", metavar="USD", help="per 1M tokens of the prompt that were cached")
        price.add_argument("--reasoning", metavar="USD", help="per 1M tokens of reasoning")

    def handle(self, *args: Any, what: str, **options: Any) -> None:
        try:
            getattr(self, f"_{what}")(**options)
        except DatabaseError as error:
            raise CommandError(_database_trouble(error)) from None

    def _list(self, *, json: bool, **_: Any) -> None:
        profiles = list(Profile.objects.all())
        if json:
            self._print_json({"models": [_document(profile) for profile in profiles]})
        elif profiles:
            _console().print(_table(profiles))
        else:
            self.stdout.write("The catalogue is empty: add a model in the admin.")

    def _price(self, *, model: str, json: bool, **typed: Any) -> None:
        prices = ModelPrices(
            input=_price(typed["input"], "--input"),
            output=_price(typed["output"], "--output"),
            cached=_price_or_none(typed["cache_read"], "--cache-read"),
            reasoning=_price_or_none(typed["reasoning"], "--reasoning"),
        )
        try:
            profile = set_prices(model, prices, reason="catalogue price")
        except Profile.DoesNotExist:
            raise CommandError(
                f"MODEL: the catalogue has no model {model[:200]!r}; `catalogue list` shows those it has."
            ) from None
        if json:
            self._print_json(_document(profile))
        else:
            _console().print(_table([profile]))

    def _print_json(self, document: object) -> None:
        self.stdout.write(json.dumps(document))


def _price(text: str, option: str) -> int:
    try:
        return parse_price(text)
    except ValidationError as error:
        raise CommandError(f"{option}: {error.messages[0]}") from None


def _price_or_none(text: str | None, option: str) -> int | None:
    return None if text is None else _price(text, option)


def _document(profile: Profile) -> dict[str, Any]:
    return {
        "id": profile.model_id,
        "source": profile.source,
        "harness": profile.harness,
        "prices": describe_prices(profile),
    }


def _table(profiles: Sequence[Profile]) -> Table:
    table = Table("model", "source", *(f"{name} $/1M" for name in ("input", "output", "cache read", "reasoning")))
    for profile in profiles:
        prices = describe_prices(profile).values()
        table.add_row(profile.model_id, profile.source, *(price or "-" for price in prices))
    return table


def _console() -> Console:
    """A terminal as wide as it is; on a pipe wide enough for the table."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def _database_trouble(error: DatabaseError) -> str:
    if not settings.DATABASE_URL:
        return "There is no database to read: start `make up`, or set DATABASE_URL."
    if isinstance(error, OperationalError):
        return "The database does not answer: start `make up`, or correct DATABASE_URL."
    return f"The database refused: {str(error).splitlines()[0]} (is it migrated? `make up` does that)"
