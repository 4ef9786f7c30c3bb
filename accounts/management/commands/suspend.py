from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from accounts.accounts import resume_account, suspend_account
from accounts.management.operator_command import OperatorCommand, account_named, operator


class Command(OperatorCommand):
    help = "Suspend an account: its keys are refused on every gateway within two seconds, what runs is cancelled."
    example = """\
examples:
  python manage.py suspend --account chemistry --reason "unpaid since May"
  python manage.py suspend --account chemistry --resume
"""
    options = {"account": "--account", "reason": "--reason"}

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", required=True, metavar="NAME", help="whose keys are refused")
        parser.add_argument("--resume", action="store_true", help="let them work again")
        parser.add_argument("--reason", default="", metavar="R", help="why, for the account's history")
        super().add_arguments(parser)

    def run(self, options: dict[str, Any]) -> None:
        account = account_named(options["account"])
        change = resume_account if options["resume"] else suspend_account
        changed = change(account, author=operator(), reason=options["reason"])
        state = "active" if options["resume"] else "suspended"
        if options["json"]:
            self.print_json({"account": account.name, "state": state, "changed": changed})
        else:
            self.say(f"Account {account} is {state}{'' if changed else ' already'}.")
