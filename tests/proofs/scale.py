"""`make proof-usage`: what finance people ask for stays quick however long the ledger has become.

    python -m tests.proofs.scale --entries 10000000

Fills a server of its own with a year of entries, asks over `/api/` what people ask, and has PostgreSQL explain each
query that this took. Nothing is promised here: the figures are for reading.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import django
from rich.console import Console

from helexa.loadtest import processes


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make proof-usage", description="Show what questions cost on a long ledger.")
    parser.add_argument("--entries", type=int, default=10**7, help="in a year (default %(default)s)")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    with processes.postgres() as database_url:
        os.environ["DATABASE_URL"] = database_url
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "helexa.settings")
        os.environ.setdefault("HELEXA_SECRET_KEY", "of a proof only, and of nothing that anybody reaches: 0123456789")
        os.environ.setdefault("HELEXA_KEY_PEPPER", "of a proof only")
        os.environ.setdefault("HELEXA_ALLOWED_HOSTS", "testserver")
        processes.migrate(database_url)
        django.setup()
        from tests.proofs import year  # has models: Django knows its database by now

        year.ask(year.fill(options.entries, console), console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
