"""`manage.py serve`: one gateway."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from prometheus_client import start_http_server

from helexa.home import StartError
from helexa.serving.limits import Limits
from helexa.serving.running import MissingServerError, ServerName, run
from helexa.serving.sockets import ListenError, bound_socket, inherited_socket, url_of
from helexa.up.metrics import listen_address

logger = structlog.get_logger(__name__)

#: What a gateway cannot do without: (setting, what an operator calls it).
NEEDED = (
    ("SECRET_KEY", "HELEXA_SECRET_KEY"),
    ("HELEXA_KEY_PEPPER", "HELEXA_KEY_PEPPER"),
    ("DATABASE_URL", "DATABASE_URL"),
    ("REDIS_URL", "REDIS_URL"),
)


class Command(BaseCommand):
    help = (
        "Serve one gateway: /v1, the admin and the pages. SIGTERM or Ctrl-C lets running answers finish, a second one "
        "does not wait for them. Example: manage.py serve --host 0.0.0.0 --port 8080"
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=settings.HELEXA_HOST, help="address to listen on (default HELEXA_HOST)")
        parser.add_argument(
            "--port", type=int, default=settings.HELEXA_PORT, help="port to listen on (default HELEXA_PORT)"
        )
        parser.add_argument(
            "--server", choices=["daphne", "uvicorn"], default="daphne", help="uvicorn needs the extra `fast`"
        )
        # The socket that `up` listens on for all its gateways.
        parser.add_argument("--fd", type=int, help=argparse.SUPPRESS)

    def handle(self, **options: Any) -> None:
        host, port, fd = options["host"], options["port"], options["fd"]
        try:
            check_settings()
            sockets = [bound_socket(host, port)] if fd is None else [inherited_socket(fd), bound_socket("127.0.0.1", 0)]
            # The last one is reached by nobody else's requests; the gateway announces it and reads it when imported.
            os.environ["HELEXA_GATEWAY_URL"] = url = url_of(sockets[-1])
            if fd is None:
                serve_metrics(settings.HELEXA_METRICS_LISTEN, gateway_port=sockets[0].getsockname()[1])
            code = serve(sockets, options["server"], url)
        except (StartError, ListenError, MissingServerError) as error:
            self.stderr.write(str(error))
            sys.exit(1)
        sys.exit(code)


def serve(sockets: list[socket.socket], server: ServerName, url: str) -> int:
    from helexa import asgi  # not before HELEXA_GATEWAY_URL is set

    return run(
        asgi.application,
        sockets=sockets,
        server=server,
        limits=Limits(),
        drain=asgi.drain,
        on_ready=lambda: logger.info("gateway is listening", url=url, server=server),
        render_error=asgi.render_error,
    )


def check_settings() -> None:
    """Say everything that is missing at once, a line each."""
    missing = [variable for setting, variable in NEEDED if not _has(setting)]
    if missing:
        raise StartError("\n".join(f"{variable} is not set: set it, or let `make up` make it." for variable in missing))


def _has(setting: str) -> bool:
    # past django.conf, which raises an error of its own for an empty SECRET_KEY
    from helexa import settings as values

    return bool(getattr(values, setting))


def serve_metrics(listen: str | None, *, gateway_port: int) -> None:
    """For a gateway that runs alone; under `up` the parent serves the metrics of all its processes."""
    address = listen or f"127.0.0.1:{gateway_port + 1}"
    host, port = listen_address(address)
    try:
        start_http_server(port, host)
    except (OSError, OverflowError) as error:
        logger.warning("serving without metrics", address=address, why=str(error))
