"""An environment for each client: made once under `.venv/clients/` by pip or npm, and kept until its pins change."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from helexa.home import REPOSITORY

FOLDER = REPOSITORY / ".venv" / "clients"


class Environment(NamedTuple):
    """Packages with the versions that were tried. What they need themselves is taken as their own pins have it."""

    name: str
    python: tuple[str, ...] = ()
    node: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return FOLDER / self.name

    @property
    def pins(self) -> list[str]:
        return [*self.python, *self.node]

    def is_made(self) -> bool:
        stamp = self.folder / "pins.json"
        return stamp.exists() and json.loads(stamp.read_text()) == self.pins

    def make(self) -> None:
        """Install what is pinned, if it is not there. Raises subprocess.CalledProcessError where that fails."""
        if self.is_made():
            return
        print(f"helexa: installing {' '.join(self.pins)} into {self.folder.relative_to(REPOSITORY)}", file=sys.stderr)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        if self.python:
            _run(sys.executable, "-m", "venv", str(self.folder))
            _run(str(self.folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *self.python)
        if self.node:
            _run(
                "npm",
                "install",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
                "--prefix",
                str(self.folder),
                *self.node,
            )
        (self.folder / "pins.json").write_text(json.dumps(self.pins))

    def command(self, script: Path) -> list[str]:
        """What runs a script of ours here. Node looks for packages above a script, so ours lies there as a copy."""
        if not self.node or script.suffix == ".py":
            return [str(self.folder / "bin" / "python") if self.python else sys.executable, str(script)]
        for module in (*script.parent.glob("*.mjs"), *script.parent.glob("*.json")):
            shutil.copy(module, self.folder)
        return ["node", str(self.folder / script.name)]

    def search_path(self) -> str:
        """PATH with the commands that came with the packages."""
        return os.pathsep.join([str(self.folder / "node_modules" / ".bin"), os.environ["PATH"]])


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr, env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"})


ENVIRONMENTS = {
    environment.name: environment
    for environment in (
        Environment("openai-current", python=("openai==3.54.0",)),
        Environment("openai-previous", python=("openai==2.54.0",)),
        Environment("anthropic-current", python=("anthropic==2.12.0",)),
        Environment("anthropic-previous", python=("anthropic==1.17.0",)),
        Environment("litellm", python=("litellm==1.106.2", "mcp==2.3.0")),
        Environment("langchain-openai", python=("langchain-openai==1.7.3",)),
        Environment("langchain-anthropic", python=("langchain-anthropic==1.7.7",)),
        Environment("openai-agents", python=("openai-agents==0.24.0",)),
        Environment(
            "ai-sdk",
            node=(
                "ai@7.0.173",
                "@ai-sdk/openai-compatible@3.0.92",
                "@ai-sdk/openai@4.0.118",
                "@ai-sdk/anthropic@4.0.105",
                "zod@4.6.7",
            ),
        ),
        Environment("claude-code", node=("@anthropic-ai/claude-code@2.1.330",)),
        Environment("codex", node=("@openai/codex@0.169.0",)),
    )
}
