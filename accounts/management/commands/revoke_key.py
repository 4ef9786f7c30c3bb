from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from accounts.keys import revoke_key
from accounts.management.operator_command import OperatorCommand, key_of_id, operator


class Command(OperatorCommand):
    help = "Revoke an API key: refused on every gateway within two seconds, what runs with it cancelled and billed."
    example = """\
example:
  python manage.py revoke_key key_3f29c1d04b77a0e5 --reason "laptop lost"
"""
    options = {"key": "KEY_ID", "reason": "--reason"}

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key_id", metavar="KEY_ID", help="the id that starts with key_, not the secret")
        parser.add_argument("--reason", default="", metavar="R", help="why, for the key's history")
        super().add_arguments(parser)

    def run(self, options: dict[str, Any]) -> None:
        key = key_of_id(options["key_id"])
        changed = revoke_key(key, author=operator(), reason=options["reason"])
        if options["json"]:
            self.print_json({"key_id": key.key_id, "account": key.account.name, "state": "revoked", "changed": changed})
        elif changed:
            self.say(f"Revoked {key} of {key.account}.")
        else:
            self.say(f"{key} of {key.account} was revoked already.")
