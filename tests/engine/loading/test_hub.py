"""Models from a hub: a mirror that speaks its protocol, with endpoint, token and cache from the environment."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.models import tiny_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_only_for_this_test"
REPOSITORY = "someone/tiny"
NOBODY = "http://127.0.0.1:9"

#: What a neuron does, in a process of its own: the hub's settings are read when its client is imported.
LOAD = """
import json, sys
from pathlib import Path
from inference.engine import Engine, LoadError

engine, results = Engine("cpu"), []
for name in ("first", "again"):
    said = []
    try:
        results.append({"parameters": engine.load(name, sys.argv[1], progress=said.append).parameters, "said": said})
    except LoadError as error:
        results.append({"error": str(error)})
        break
engine.close()
print(json.dumps(results))
"""


class Mirror(ThreadingHTTPServer):
    """Serves one folder as one repository to those who bring the token."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sent: list[str] = []
        super().__init__(("127.0.0.1", 0), MirrorHandler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class MirrorHandler(BaseHTTPRequestHandler):
    server: Mirror
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = self.path.split("?")[0]
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.reply(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif path == f"/api/models/{REPOSITORY}/revision/main":
            self.reply_json({"id": REPOSITORY, "sha": COMMIT, "siblings": []})
        elif path == f"/api/models/{REPOSITORY}/tree/{COMMIT}":
            files = [file for file in self.server.folder.rglob("*") if file.is_file()]
            self.reply_json([self.entry(file) for file in files])
        elif path.startswith(f"/{REPOSITORY}/resolve/{COMMIT}/"):
            name = path.removeprefix(f"/{REPOSITORY}/resolve/{COMMIT}/")
            content = (self.server.folder / name).read_bytes()
            if self.command == "GET":
                self.server.sent.append(name)
            self.reply(200, content, {"ETag": f'"{oid(content)}"', "X-Repo-Commit": COMMIT})
        else:
            self.reply(404, b"{}", {})

    def entry(self, file: Path) -> dict[str, object]:
        content = file.read_bytes()
        name = str(file.relative_to(self.server.folder))
        return {"type": "file", "path": name, "size": len(content), "oid": oid(content)}

    def reply_json(self, value: object) -> None:
        self.reply(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


def oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    folder = tiny_model(tmp_path / "repository", hidden_size=512, intermediate_size=1024)  # some megabytes to count
    (folder / "pytorch_model.bin").write_bytes(b"the same weights in a format that can run code")
    (folder / "original").mkdir()
    (folder / "original" / "model.safetensors").write_bytes(b"the same weights once more")
    server = Mirror(folder)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def load(source: str, home: Path, **environment: str) -> list[dict[str, Any]]:
    """What two loads in a row, under two names, came to; one if it failed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    process = subprocess.run(
        [sys.executable, "-c", LOAD, source],
        env={**clean, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", **environment},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    results: list[dict[str, Any]] = json.loads(process.stdout.splitlines()[-1])
    return results


def test_a_hub_id_is_downloaded_with_the_token_into_the_cache_and_then_comes_from_there(
    mirror: Mirror, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    first, again = load(REPOSITORY, home, HF_ENDPOINT=mirror.url, HF_TOKEN=TOKEN)
    assert first.get("parameters"), first
    assert first["said"][-1].startswith("reading weights")
    assert any(said.startswith("downloading ") and said.endswith(" MB") for said in first["said"][:-1])
    assert (home / "hub" / "models--someone--tiny" / "snapshots" / COMMIT / "config.json").exists()

    assert all(said.startswith("reading weights") for said in again["said"])
    assert mirror.sent.count("model.safetensors") == 1
    assert not {"pytorch_model.bin", "original/model.safetensors"} & set(mirror.sent)

    offline = load(REPOSITORY, home, HF_ENDPOINT=NOBODY, HF_TOKEN=TOKEN)
    assert offline[0].get("parameters") == first["parameters"], offline


def test_a_wrong_token_is_one_sentence(mirror: Mirror, tmp_path: Path) -> None:
    error = load(REPOSITORY, tmp_path / "home", HF_ENDPOINT=mirror.url, HF_TOKEN="hf_wrong")[0]["error"]
    assert error == (
        f"{mirror.url} shows no model 'someone/tiny' to this token: check the name, "
        "or set HF_TOKEN to a token that may read it."
    )


def test_a_hub_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    error = load(REPOSITORY, tmp_path / "home", HF_ENDPOINT=NOBODY)[0]["error"]
    assert error == (
        f"The hub at {NOBODY} cannot be reached and someone/tiny is not in the cache: "
        "check the network or HF_ENDPOINT, or give a local folder."
    )
