from __future__ import annotations

import sys
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser
from rich.table import Table

from accounts.audit import Audit, audit, of_request
from accounts.management.operator_command import OperatorCommand
from accounts.models import Budget
from accounts.typed import format_amount


class Command(OperatorCommand):
    help = "Recompute the ledger from one snapshot and say what differs; it may run under load. Exit 1 on a difference."
    example = """\
examples:
  python manage.py audit_ledger
  python manage.py audit_ledger --request req_0192f3c4a5b67c8d9e0f1a2b3c4d5e6f --json
"""
    options = {"request": "--request"}

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--request", metavar="ID", help="show what was booked for this x-request-id instead")
        super().add_arguments(parser)

    def run(self, options: dict[str, Any]) -> None:
        if options["request"] is not None:
            self._show_request(options["request"], as_json=options["json"])
            return
        found = audit()
        if options["json"]:
            self.print_json(_document(found))
        else:
            self._show(found)
        if not found.ok:
            sys.exit(1)

    def _show(self, found: Audit) -> None:
        for sentence in found.differences:
            self.say(sentence)
        self.print_facts(
            {
                "budgets": f"{found.budgets:,}",
                "entries": f"{found.entries:,}",
                "open reservations": f"{found.reservations_open:,}",
                "differences": f"{len(found.differences):,}" if found.differences else "none",
            }
        )

    def _show_request(self, request_id: str, *, as_json: bool) -> None:
        booked = of_request(request_id)
        if booked is None:
            raise ValidationError({"request": f"Nothing was booked for {request_id.strip()!r}."})
        if as_json:
            self.print_json(booked)
            return
        reservation = booked["reservation"]
        self.print_facts(
            {
                "request": booked["request_id"],
                "state": booked["state"],
                "account": reservation["account"],
                "key": reservation["key_id"],
                "model": f"{reservation['model']} on {reservation['node']}",
                "granted": format_amount(reservation["granted"], Budget.Unit.TOKENS),
                "billed": f"{format_amount(booked['tokens'], Budget.Unit.TOKENS)}, {booked['usd']} USD",
            }
        )
        if booked["entries"]:
            self.console.print(_entries(booked["entries"]))


def _document(found: Audit) -> dict[str, Any]:
    return {
        "ok": found.ok,
        "budgets": found.budgets,
        "entries": found.entries,
        "reservations_open": found.reservations_open,
        "differences": found.differences,
    }


def _entries(entries: list[dict[str, Any]]) -> Table:
    table = Table("entry", "kind", "prompt", "completion", "tokens", "nano-USD", "lines")
    for entry in entries:
        lines = ", ".join(f"budget {line['budget']}: {line['amount']}" for line in entry["lines"])
        counts = (entry["prompt_tokens"], entry["completion_tokens"], entry["tokens"], entry["nano_usd"])
        table.add_row(str(entry["id"]), entry["kind"], *map(str, counts), lines)
    return table
