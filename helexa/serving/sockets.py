"""Listening sockets: opened here or inherited, with a sentence for what can be wrong with either."""

from __future__ import annotations

import errno
import socket

#: Connections that may wait to be accepted; a burst of clients must not see refusals.
BACKLOG = 1024


class ListenError(Exception):
    """Why an address cannot be listened on, and what to do about it."""


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that holds its address; it takes connections only when a server starts to listen on it."""
    if not 0 <= port <= 65535:
        raise ListenError(f"{port} is not a port: give a number from 1 to 65535.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise ListenError(f"{host} is not an address: give an IP address or a name of this machine.") from error
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except OSError as error:
        opened.close()
        raise ListenError(_why_not(error, host, port)) from error
    return opened


def inherited_socket(fd: int) -> socket.socket:
    """The listening socket that a parent process passed on as file descriptor `fd`."""
    try:
        inherited = socket.socket(fileno=fd)
        listening = inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ListenError(f"File descriptor {fd} is no socket that a parent process passed on.") from error
    if not listening:
        raise ListenError(f"File descriptor {fd} is a socket that does not listen.")
    return inherited


def listen(sockets: list[socket.socket]) -> None:
    """Open for connections what holds an address; harmless to one that is open already."""
    for opened in sockets:
        try:
            opened.listen(BACKLOG)
        except OSError as error:  # another process bound the same address meanwhile
            raise ListenError(_why_not(error, *opened.getsockname()[:2])) from error


def url_of(listener: socket.socket) -> str:
    """Where a process of this machine reaches the socket; a wildcard address is reached over loopback."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _why_not(error: Exception, host: str, port: int) -> str:
    """One sentence on a failed bind or listen."""
    match getattr(error, "errno", None):
        case errno.EADDRINUSE:
            return f"Port {port} on {host} is in use: stop what listens there, or choose another port."
        case errno.EACCES:
            return f"Port {port} needs privileges this user does not have: choose one from 1024 up."
        case errno.EADDRNOTAVAIL:
            return f"{host} is not an address of this machine: choose one that is, or 0.0.0.0 for all."
        case _:
            return f"Cannot listen on {host} port {port}: {error}"
