"""`make proof-clients`: install clients from their registries, point them at an `up` of its own, and tell what ran."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from helexa.home import REPOSITORY
from tests.failures.conftest import Up
from tests.models import tiny_model
from tests.proofs.clients.clients import CLIENTS, Client, Environment

#: Agents send tens of thousands of tokens before they say a word, and more where tokens are as small as the model's.
CONTEXT_TOKENS = 262_144
#: A context of this size is offered however slow this machine reads it.
SETTINGS = {"HELEXA_CONTEXT_LIMIT__TARGET_PREFILL_LATENCY_SECS": "10000"}
#: An agent's whole prompt, read by a CPU that others use too.
LIMIT_S = 900


def main() -> int:
    parser = argparse.ArgumentParser(prog="make proof-clients", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="clients whose name holds this")
    parser.add_argument("--environments", type=Path, default=REPOSITORY / ".venv" / "clients", metavar="FOLDER")
    options = parser.parse_args()
    clients = [client for client in CLIENTS if options.only.lower() in client.name.lower()]
    environments = [Environment(client, options.environments) for client in clients]
    for environment in environments:
        environment.install()
    with tempfile.TemporaryDirectory(prefix="helexa-clients-") as folder:
        Path(folder).chmod(0o711)
        model = tiny_model(Path(folder) / "tiny", max_position_embeddings=CONTEXT_TOKENS)
        running = Up(Path(folder), model, **SETTINGS)
        try:
            running.wait_ready()
            ran = [
                _show(client, environment, running) for client, environment in zip(clients, environments, strict=True)
            ]
        finally:
            running.stop()
    return 0 if all(ran) else 1


def _show(client: Client, environment: Environment, running: Up) -> bool:
    """Run a client's script and print what it says."""
    print(f"\n{client.name} {environment.version}", flush=True)
    told = os.environ | {"HELEXA_URL": running.url, "HELEXA_KEY": running.key, "HELEXA_MODEL": "tiny"}
    done = subprocess.run(
        environment.command,
        cwd=environment.folder,
        env=told,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    print("".join(f"  {line}\n" for line in done.stdout.splitlines()), end="")
    if done.returncode:
        print(f"  FAILED\n{done.stderr}", flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
