"""Codex in its non-interactive mode, `codex exec`, with nothing but the config.toml that docs/clients/ shows."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from features import FIRST_WORD, LAST_WORD, MODEL, THOUGHT, feature, run

CONFIG = f"""
model = "{MODEL}"
model_provider = "helexa"

[model_providers.helexa]
name = "helexa"
base_url = "{os.environ["OPENAI_BASE_URL"]}"
model_catalog_url = "{os.environ["OPENAI_BASE_URL"]}/models"
env_key = "HELEXA_GATEWAY_API_KEY"
wire_api = "responses"
"""
KEY = os.environ.pop("OPENAI_API_KEY")
#: No sandbox of its own, which needs rights that a container may not have; it works in an empty folder.
OPTIONS = ["--skip-git-repo-check", "--json", "--dangerously-bypass-approvals-and-sandbox"]

folder = Path.home() / ".codex"
folder.mkdir(exist_ok=True)
(folder / "config.toml").write_text(CONFIG)


def codex(*options: str, key: str = KEY) -> list[dict[str, Any]]:
    """The events that it printed for one prompt."""
    done = subprocess.run(
        ["codex", "exec", *OPTIONS, *options],
        env=os.environ | {"HELEXA_GATEWAY_API_KEY": key},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=120,
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def items(events: list[dict[str, Any]], type_: str) -> list[dict[str, Any]]:
    completed = [event["item"] for event in events if event["type"] == "item.completed"]
    return [item for item in completed if item["type"] == type_]


@feature
def text() -> None:
    """Without a shell to call it says its first word."""
    told = codex("--disable", "shell_tool", "--disable", "unified_exec", "Hello")
    assert [item["text"] for item in items(told, "agent_message")] == [FIRST_WORD]


@feature
def reasoning() -> None:
    """It asks for a summary of what was thought, and shows it."""
    told = codex("--disable", "shell_tool", "--disable", "unified_exec", "Hello")
    assert [item["text"] for item in items(told, "reasoning")] == [THOUGHT]


@feature
def loop() -> None:
    """It runs the command that the model calls its shell with, and tells the model what came of it."""
    written = Path("scripted.txt")
    written.unlink(missing_ok=True)
    told = codex("Write a file.")
    assert written.read_text() == "scripted\n"
    assert [item["exit_code"] for item in items(told, "command_execution")] == [0]
    assert [item["text"] for item in items(told, "agent_message")] == [LAST_WORD]


@feature
def models() -> None:
    """It reads what the list of models says of this one, else it would complain."""
    assert not items(codex("Write a file."), "error")


@feature
def resumed() -> None:
    """The last conversation goes on."""
    assert [item["text"] for item in items(codex("resume", "--last", "And now?"), "agent_message")] == [LAST_WORD]


@feature
def usage() -> None:
    (ended,) = [event for event in codex("Write a file.") if event["type"] == "turn.completed"]
    assert ended["usage"]["input_tokens"] > ended["usage"]["cached_input_tokens"] >= 0
    assert ended["usage"]["output_tokens"] > 0


@feature
def errors() -> None:
    (failed,) = [event for event in codex("Hello", key="wrong") if event["type"] == "turn.failed"]
    assert "API key" in failed["error"]["message"]


run()
