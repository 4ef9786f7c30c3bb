"""One address for the numbers of all processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from helexa.home import StartError
from helexa.up.metrics import Metrics

COUNT = "from prometheus_client import Counter; Counter('answers', 'Answers.').inc(3)"


def test_it_adds_up_what_several_processes_counted(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gateway:
        metrics = Metrics.serve(tmp_path / "metrics", listen=None, gateway_port=gateway.getsockname()[1])
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(metrics.folder)}
        for _ in range(2):
            process = subprocess.Popen([sys.executable, "-c", COUNT], env=environment)
            assert process.wait(30) == 0
            metrics.forget(process.pid)
        with urlopen(metrics.url) as answer:
            assert "answers_total 6.0" in answer.read().decode()
        metrics.close()


def test_the_default_address_gives_way_and_a_given_one_does_not(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        metrics = Metrics.serve(tmp_path / "metrics", listen=None, gateway_port=port - 1)
        assert not metrics.url.endswith(f":{port}/metrics")
        metrics.close()
        with pytest.raises(StartError, match=f"127.0.0.1:{port} of HELEXA_METRICS_LISTEN is taken"):
            Metrics.serve(tmp_path / "metrics", listen=f"127.0.0.1:{port}", gateway_port=port - 1)


@pytest.mark.parametrize("listen", ["31314", "host:", ":1", "127.0.0.1:99999", "127.0.0.1:x"])
def test_an_address_that_is_none_is_one_sentence(tmp_path: Path, listen: str) -> None:
    with pytest.raises(StartError, match="write it as host:port"):
        Metrics.serve(tmp_path / "metrics", listen=listen, gateway_port=1)
