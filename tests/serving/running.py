"""A server process and raw connections to it."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from http.client import HTTPResponse
from typing import Any

import psutil

from helexa.home import REPOSITORY

#: Nothing here takes so long; a test that waits for it has failed.
PATIENCE_S = 30.0
#: What happens at once: so long it may take where other tests share the cores.
SOON_S = 10.0


class Server:
    """`python -m tests.serving.process`, and what it tells on stdout."""

    def __init__(self, name: str, fd: int | None = None, startup: str = "", **limits: float) -> None:
        asked = json.dumps({"server": name, "limits": limits, "fd": fd})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.serving.process", asked],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "STARTUP": startup},
            pass_fds=[] if fd is None else [fd],
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._seen: list[str] = []
        self.log: list[str] = []
        self._copiers = [
            threading.Thread(target=_copy, args=copied, daemon=True)
            for copied in ((self._process.stdout, self._lines.put), (self._process.stderr, self.log.append))
        ]
        for copier in self._copiers:
            copier.start()
        if not startup:
            self.port = int(self.wait_for("ready").split()[1])

    @property
    def rss_bytes(self) -> int:
        return psutil.Process(self._process.pid).memory_info().rss

    def wait_for(self, event: str, timeout_s: float = PATIENCE_S) -> str:
        """The first line that starts with `event`, of those that no earlier call has returned."""
        for line in self._seen:
            if line.startswith(event):
                self._seen.remove(line)
                return line
        while True:
            try:
                line = self._lines.get(timeout=timeout_s)
            except queue.Empty:
                raise AssertionError(f"no {event!r} within {timeout_s} s\n" + "".join(self.log)) from None
            if line.startswith(event):
                return line
            self._seen.append(line)

    def events(self) -> list[str]:
        """What was told so far and not yet waited for."""
        while not self._lines.empty():
            self._seen.append(self._lines.get())
        return self._seen

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def exit_code(self, timeout_s: float = PATIENCE_S) -> int:
        """Wait for the end; `log` is whole from then on."""
        code = self._process.wait(timeout_s)
        for copier in self._copiers:
            copier.join()
        return code

    def kill(self) -> None:
        self._process.kill()
        self.exit_code()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()


def _copy(stream: Any, put: Any) -> None:
    for line in stream:
        put(line.rstrip("\n"))


class Connection:
    """One connection. Answers are read by the standard library, the requests are written byte by byte."""

    def __init__(self, server: Server | int, *, receive_buffer_bytes: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(("127.0.0.1", server if isinstance(server, int) else server.port))
        self._reader = self.socket.makefile("rb")

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()
        self.socket.close()

    def send(self, data: bytes) -> Connection:
        self.socket.sendall(data)
        return self

    def ask(self, path: str = "/", *headers: str, method: str = "GET", body: bytes = b"") -> Connection:
        lines = [f"{method} {path} HTTP/1.1", "host: localhost", *headers]
        if body:
            lines.append(f"content-length: {len(body)}")
        return self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def answer(self, method: str = "GET") -> HTTPResponse:
        """The next answer's head; its body is read by the caller."""
        response = HTTPResponse(_Reader(self._reader), method=method)  # type: ignore[arg-type]
        response.begin()
        return response

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        return self._reader.read()


class _Reader:
    """What HTTPResponse wants of a socket, with one buffer for all answers of a connection."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def makefile(self, mode: str) -> Any:
        return _Unclosed(self._reader)


class _Unclosed:
    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def close(self) -> None:
        """The next answer comes through the same file."""
