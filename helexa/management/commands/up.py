"""`manage.py up`: everything on this machine, with one command."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from helexa.home import StartError
from helexa.settings import env
from helexa.up.plan import SERVERS, Plan
from helexa.up.stack import Stack
from helexa.up.terminal import Terminal


class Command(BaseCommand):
    help = (
        "Start everything on this machine: PostgreSQL and Redis (unless DATABASE_URL and REDIS_URL name running ones), "
        "gateways and neurons. Stays in the foreground; Ctrl-C ends all of it. "
        "Example: manage.py up --gateways 2"
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--gateways", type=int, default=1, metavar="N", help="gateway processes (default 1)")
        parser.add_argument(
            "--workers",
            type=int,
            default=settings.HELEXA_WORKERS,
            metavar="N",
            help="neurons, named local, local-2, ... (default HELEXA_WORKERS, else 1)",
        )
        parser.add_argument("--server", choices=SERVERS, default="daphne", help="what the gateways run under")
        parser.add_argument(
            "--no-restart", dest="restart", action="store_false", help="end when a child dies, with exit status 1"
        )
        parser.add_argument(
            "--listen",
            metavar="ADDRESS",
            help="let neurons on other hosts reach Redis at this address of this machine, and print what to type there",
        )

    def handle(self, **options: Any) -> None:
        terminal = Terminal()
        try:
            asyncio.run(self._run(terminal, **options))
        except StartError as error:
            terminal.end_progress()
            self.stderr.write(str(error))
            sys.exit(1)

    async def _run(self, terminal: Terminal, **options: Any) -> None:
        plan = plan_from(options)
        plan.check(allow_echo=settings.HELEXA_ALLOW_ECHO)
        settings.HOME.make()
        with settings.HOME.locked():
            await Stack(plan, settings.HOME, terminal).run()


def plan_from(options: dict[str, Any]) -> Plan:
    model = settings.HELEXA_MODEL
    if model is not None and Path(model).exists():
        model = str(Path(model).resolve())  # children run elsewhere
    return Plan(
        host=settings.HELEXA_HOST,
        port=settings.HELEXA_PORT,
        gateways=options["gateways"],
        workers=options["workers"],
        server=options["server"],
        restart=options["restart"],
        listen=options["listen"],
        metrics_listen=settings.HELEXA_METRICS_LISTEN,
        # Only what the operator gave: the settings also know the servers that `up` started here last time.
        database_url=env.str("DATABASE_URL", default=None),
        redis_url=env.str("REDIS_URL", default=None),
        model=model,
        echo=settings.HELEXA_HARNESS == "echo",
    )
