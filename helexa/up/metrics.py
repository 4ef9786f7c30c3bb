"""Prometheus for all processes of one `up`, served once, by `up` itself."""

from __future__ import annotations

import errno
import shutil
from dataclasses import dataclass
from pathlib import Path
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from helexa.home import StartError, explained


@dataclass(frozen=True)
class Metrics:
    """Children write into `folder`; whoever asks `url` gets their sum."""

    folder: Path
    url: str
    _server: WSGIServer

    @classmethod
    def serve(cls, folder: Path, *, listen: str | None, gateway_port: int) -> Metrics:
        """On `listen` (host:port), or on loopback beside the gateway's port, or on a free port where that is taken."""
        with explained(folder):
            shutil.rmtree(folder, ignore_errors=True)  # what earlier processes counted is theirs
            folder.mkdir(parents=True)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(folder))
        if listen is not None:
            host, port = listen_address(listen)
            server = _try_serve(host, port, registry)
            if server is None:
                raise StartError(
                    f"The address {listen} of HELEXA_METRICS_LISTEN is taken or not of this machine: give another one."
                )
        else:
            host = "127.0.0.1"
            beside = _try_serve(host, gateway_port + 1, registry) if gateway_port < 65535 else None
            server = beside or _try_serve(host, 0, registry)
            if server is None:
                raise StartError("No free port was found for the metrics: set HELEXA_METRICS_LISTEN to host:port.")
        shown = f"[{host}]" if ":" in host else host
        return cls(folder, f"http://{shown}:{server.server_port}/metrics", server)

    def forget(self, pid: int) -> None:
        """Drop the gauges of a process that is gone; its counters stay counted."""
        mark_process_dead(pid, str(self.folder))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _try_serve(host: str, port: int, registry: CollectorRegistry) -> WSGIServer | None:
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES):
            return None
        raise
    return server


def listen_address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise StartError(f"HELEXA_METRICS_LISTEN is {listen!r}: write it as host:port, say 127.0.0.1:31314.")
    return host.strip("[]"), int(port)
