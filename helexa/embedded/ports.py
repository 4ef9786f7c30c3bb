"""A port for a server that only this machine's processes need: chosen once, then kept, so that addresses stay."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Sequence
from pathlib import Path

from helexa.home import StartError, explained

#: Below the ranges that kernels hand out to outgoing connections: such a connection could sit on the port of a
#: server that is down for a second.
_RANGE = range(20000, 32000)
_TRIES = 200


def kept_port(file: Path, addresses: Sequence[str]) -> int:
    """The port kept in `file` while it is free on all `addresses`, else another one, which is kept from then on."""
    try:
        port = int(file.read_text())
    except (FileNotFoundError, ValueError):
        port = None
    if port is not None and is_free(port, addresses):
        return port
    port = free_port(addresses)
    with explained(file):
        file.write_text(str(port))
    return port


def free_port(addresses: Sequence[str]) -> int:
    # Random rather than the first free one: two homes that start at the same moment would choose the same.
    for port in random.sample(_RANGE, _TRIES):
        if is_free(port, addresses):
            return port
    raise StartError(
        "No free port was found between 20000 and 32000: set DATABASE_URL and REDIS_URL to running servers."
    )


def is_free(port: int, addresses: Sequence[str]) -> bool:
    """Whether a server could listen there now. Raises StartError for an address that this machine does not have."""
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: waiting remains are fine
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return False
                raise StartError(
                    f"This machine cannot listen on the address {address}: give one of its own addresses."
                ) from error
    return True
