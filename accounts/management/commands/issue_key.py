from __future__ import annotations

import json
from argparse import RawDescriptionHelpFormatter
from datetime import UTC, datetime
from typing import IO, Any, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, OperationalError, transaction
from rich.console import Console
from rich.table import Table

from accounts.accounts import open_account
from accounts.keys import issue_key, parse_peppers, split_model_ids
from accounts.models import ApiKey

EXAMPLE = """\
example:
  python manage.py issue_key --account chemistry --label "nightly batch" --models qwen3-4b --expires 2027-01-31

The secret is printed once and kept nowhere. --json prints one document, so that a script can take the key:
  python manage.py issue_key --account chemistry --json > key.json
"""

NO_DATABASE = "There is no database to write the key into: start `make up`, or set DATABASE_URL."

#: Which option to name when a field is refused.
OPTIONS = {
    "name": "--account",
    "label": "--label",
    "scope": "--scope",
    "allowed_models": "--models",
    "expires_at": "--expires",
}


class Command(BaseCommand):
    help = "Issue an API key, for an account that is made if there is none of this name."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, epilog=EXAMPLE, **kwargs)
        parser.formatter_class = RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", required=True, metavar="NAME", help="whom the key belongs to")
        parser.add_argument("--label", default="", metavar="L", help="what the key is for, in your words")
        parser.add_argument("--models", metavar="A,B", help="the only models it may use (default: every model)")
        parser.add_argument(
            "--expires", metavar="ISO", help="date or moment, in UTC unless it has an offset (default: never)"
        )
        parser.add_argument(
            "--scope",
            default=str(ApiKey.Scope.INFERENCE),
            metavar="|".join(ApiKey.Scope.values),
            help="what it may do; each scope includes the ones before it (default: inference)",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")

    def handle(self, **options: Any) -> None:
        try:
            key, secret = self._issue(options)
        except ValidationError as error:
            raise CommandError(_naming_the_option(error)) from None
        except (ImproperlyConfigured, DatabaseError) as error:
            raise CommandError(_database_trouble(error)) from None
        if key.account.suspended:
            self.stderr.write(f"Account {key.account} is suspended: the key will work once it is resumed.")
        if options["json"]:
            self.stdout.write(json.dumps(_document(key, secret)))
        else:
            _show(key, secret, Console(file=cast("IO[str]", self.stdout), highlight=False))

    @staticmethod
    def _issue(options: dict[str, Any]) -> tuple[ApiKey, str]:
        peppers = parse_peppers(settings.HELEXA_KEY_PEPPER)
        allowed_models, expires_at = _models(options["models"]), _moment(options["expires"])
        with transaction.atomic():  # no account stays behind when its key is refused
            return issue_key(
                account=open_account(options["account"]),
                peppers=peppers,
                label=options["label"].strip(),
                scope=options["scope"],
                allowed_models=allowed_models,
                expires_at=expires_at,
            )


def _models(text: str | None) -> list[str]:
    """An empty list would mean every model, which a script with an empty variable does not."""
    models = split_model_ids(text or "")
    if text is not None and not models:
        raise CommandError("--models: name at least one model, or leave the option out for every model.")
    return models


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise CommandError(f"--expires: {text!r} is no ISO date; write it as 2027-01-31T18:00.") from None


def _naming_the_option(error: ValidationError) -> str:
    field, messages = next(iter(error.message_dict.items()))
    return f"{OPTIONS.get(field, field)}: {messages[0]}"


def _database_trouble(error: Exception) -> str:
    if not settings.DATABASE_URL:
        return NO_DATABASE
    if isinstance(error, OperationalError):
        return "The database does not answer: start `make up`, or correct DATABASE_URL."
    if isinstance(error, DatabaseError):
        return f"The database refused: {str(error).splitlines()[0]} (is it migrated? `make up` does that)"
    return str(error)


def _document(key: ApiKey, secret: str) -> dict[str, Any]:
    return {
        "key": secret,
        "key_id": key.key_id,
        "account": key.account.name,
        "label": key.label,
        "scope": key.scope,
        "models": key.allowed_models,
        "expires": key.expires_at.isoformat() if key.expires_at else None,
    }


def _show(key: ApiKey, secret: str, console: Console) -> None:
    rows = {
        "key id": key.key_id,
        "account": key.account.name,
        "label": key.label or "–",
        "scope": key.scope,
        "models": ", ".join(key.allowed_models) or "every model",
        "expires": f"{key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else "never",
    }
    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table, markup=False)
    console.print(f"\n{secret}\n", markup=False, soft_wrap=True)
    console.print("Copy the secret now: it is kept nowhere and cannot be shown again.")
