"""What the commands of operators share: an example in their help, --json, and every fault as one sentence."""

from __future__ import annotations

import getpass
import json
from argparse import RawDescriptionHelpFormatter
from typing import IO, Any, ClassVar, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, OperationalError
from rich.console import Console
from rich.table import Table

from accounts.booking.operations import Author
from accounts.models import Account, ApiKey

NO_DATABASE = "There is no database that could be asked: start `make up`, or set DATABASE_URL."


class OperatorCommand(BaseCommand):
    """A command whose `run` may raise ValidationError: the field that it names is told as the option it came from."""

    example: ClassVar[str]
    #: Which option to name when a field is refused.
    options: ClassVar[dict[str, str]] = {}

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, epilog=self.example, **kwargs)
        parser.formatter_class = RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")

    def run(self, options: dict[str, Any]) -> None:
        raise NotImplementedError

    def handle(self, **options: Any) -> None:
        try:
            self.run(options)
        except ValidationError as error:
            raise CommandError(self._naming_the_option(error)) from None
        except (ImproperlyConfigured, DatabaseError) as error:
            raise CommandError(_database_trouble(error)) from None

    def print_json(self, document: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(document))

    @property
    def console(self) -> Console:
        return Console(file=cast("IO[str]", self.stdout), highlight=False)

    def say(self, sentence: str) -> None:
        self.console.print(sentence, markup=False, soft_wrap=True)

    def print_facts(self, facts: dict[str, str]) -> None:
        """Names and values, one pair a line."""
        table = Table.grid(padding=(0, 2))
        for name, value in facts.items():
            table.add_row(name, value)
        self.console.print(table, markup=False)

    def _naming_the_option(self, error: ValidationError) -> str:
        field, messages = next(iter(error.message_dict.items()))
        return f"{self.options.get(field, field)}: {messages[0]}"


def operator() -> Author:
    """Who typed the command."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, in a container say
        name = "somebody"
    return Author(f"{name} at a terminal")


def account_named(name: str) -> Account:
    """Raises ValidationError if there is none of this name."""
    account = Account.objects.filter(name=name.strip()).first()
    if account is None:
        raise ValidationError({"account": f"There is no account {name.strip()!r}."})
    return account


def key_of_id(key_id: str) -> ApiKey:
    """Raises ValidationError if there is none of this id."""
    key = ApiKey.objects.select_related("account").filter(key_id=key_id.strip()).first()
    if key is None:
        raise ValidationError({"key": f"There is no key {key_id.strip()!r}; the id is what starts with key_."})
    return key


def _database_trouble(error: Exception) -> str:
    if not settings.DATABASE_URL:
        return NO_DATABASE
    if isinstance(error, OperationalError):
        return "The database does not answer: start `make up`, or correct DATABASE_URL."
    if isinstance(error, DatabaseError):
        return f"The database refused: {str(error).splitlines()[0]} (is it migrated? `make up` does that)"
    return str(error)
