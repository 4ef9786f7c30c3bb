from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from accounts.budgets import find_budget, top_up
from accounts.management.operator_command import OperatorCommand, account_named, key_of_id, operator
from accounts.models import Account, Budget, Entry
from accounts.typed import format_amount, parse_amount
from helexa.usd import format_usd

Unit = Budget.Unit


class Command(OperatorCommand):
    help = "Raise the balance cap of an account or of a key. The credit is an entry of the ledger."
    example = """\
examples:
  python manage.py topup --account chemistry --usd 25 --reason "invoice 1207"
  python manage.py topup --key key_3f29c1d04b77a0e5 --tokens 100000
"""
    options = {
        "account": "--account",
        "key": "--key",
        "reason": "--reason",
        "amount": "--tokens or --usd",
        "cap": "--tokens or --usd",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        owner = parser.add_mutually_exclusive_group(required=True)
        owner.add_argument("--account", metavar="NAME", help="the account whose cap is raised")
        owner.add_argument("--key", metavar="KEY_ID", help="the key whose own cap is raised")
        amount = parser.add_mutually_exclusive_group(required=True)
        amount.add_argument("--tokens", metavar="N", help="by how many tokens")
        amount.add_argument("--usd", metavar="X", help="by how many dollars")
        parser.add_argument("--reason", default="", metavar="R", help="why; it stays on the books")
        super().add_arguments(parser)

    def run(self, options: dict[str, Any]) -> None:
        unit, option = (Unit.NANO_USD, "--usd") if options["tokens"] is None else (Unit.TOKENS, "--tokens")
        amount = parse_amount(options["usd"] if options["tokens"] is None else options["tokens"], unit, field=option)
        named = options["account"] is not None
        owner = account_named(options["account"]) if named else key_of_id(options["key"])
        entry = top_up(owner, unit, amount, reason=options["reason"], author=operator())
        budget = find_budget(owner, unit)
        cap = budget.limit if budget else None
        assert cap is not None, "it has just been topped up"
        if options["json"]:
            self.print_json(_document(entry, owner.name if isinstance(owner, Account) else owner.key_id, cap))
        else:
            told = f"{owner}: topped up by {format_amount(amount, unit)}, its cap is now"
            self.say(f"{told} {format_amount(cap, unit)}.")


def _document(entry: Entry, owner: str, cap: int) -> dict[str, Any]:
    in_tokens = entry.tokens != 0
    return {
        "owner": owner,
        "entry": entry.pk,
        "tokens": entry.tokens if in_tokens else None,
        "usd": None if in_tokens else format_usd(entry.nano_usd),
        "cap": cap if in_tokens else None,
        "cap_usd": None if in_tokens else format_usd(cap),
    }
