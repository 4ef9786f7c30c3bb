"""What is installed for each client, and the script that shows it at work. A script reads three variables,
HELEXA_URL, HELEXA_KEY and HELEXA_MODEL, prints a line for each thing that worked, and fails at the first that did not.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

SCRIPTS = Path(__file__).parent / "scripts"


class Client(NamedTuple):
    """`packages` are Python's, or npm's for a script in JavaScript or a shell. The first one is the client."""

    name: str
    packages: list[str]
    script: str

    @property
    def is_python(self) -> bool:
        return self.script.endswith(".py")


CLIENTS = [
    Client("anthropic SDK", ["anthropic"], "anthropic_sdk.py"),
    Client("anthropic SDK, previous major", ["anthropic<2"], "anthropic_sdk.py"),
    Client("LangChain (Messages)", ["langchain-anthropic"], "langchain_messages.py"),
    Client("LiteLLM (Messages)", ["litellm", "mcp"], "litellm_messages.py"),  # where tools are, it imports mcp too
    Client("Vercel AI SDK (Messages)", ["@ai-sdk/anthropic", "ai"], "ai_sdk_messages.mjs"),
    Client("Claude Code", ["@anthropic-ai/claude-code"], "claude_code.sh"),
]


class Environment:
    """Where a client is installed; kept for the next time."""

    def __init__(self, client: Client, folder: Path) -> None:
        self._client = client
        self._folder = folder / "".join(letter if letter.isalnum() else "-" for letter in client.name)

    def install(self) -> None:
        if self._client.is_python:
            _run(sys.executable, "-m", "venv", str(self._folder))
            _run(str(self._python), "-m", "pip", "install", "--quiet", "--upgrade", *self._client.packages)
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        _run("npm", "install", "--prefix", str(self._folder), "--no-audit", "--no-fund", *self._client.packages)

    @property
    def version(self) -> str:
        package = self._client.packages[0].split("<", maxsplit=1)[0]
        if self._client.is_python:
            return _run(str(self._python), "-c", f"from importlib.metadata import version; print(version('{package}'))")
        query = f"require('./node_modules/{package}/package.json').version"
        return _run("node", "-p", query, folder=self._folder)

    @property
    def command(self) -> list[str]:
        """To be run in `folder`: modules of npm are found from where a script lies, so it is given as text."""
        script = SCRIPTS / self._client.script
        if self._client.is_python:
            return [str(self._python), str(script)]
        if script.suffix == ".mjs":
            return ["node", "--input-type=module", "--eval", script.read_text()]
        return ["bash", str(script)]

    @property
    def folder(self) -> Path:
        return self._folder

    @property
    def _python(self) -> Path:
        return self._folder / "bin" / "python"


def _run(*command: str, folder: Path | None = None) -> str:
    """Its output. Raises CalledProcessError."""
    return subprocess.run(command, check=True, cwd=folder, stdout=subprocess.PIPE, text=True).stdout.strip()
