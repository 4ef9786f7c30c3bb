"""Claude Code in its non-interactive mode, `claude -p`, with nothing but the variables that docs/clients/ shows."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from features import FIRST_WORD, LAST_WORD, MODEL, feature, run

SETTINGS = {
    "ANTHROPIC_AUTH_TOKEN": os.environ.pop("ANTHROPIC_API_KEY"),  # which would win over the token
    "ANTHROPIC_MODEL": MODEL,
    "ANTHROPIC_DEFAULT_OPUS_MODEL": MODEL,
    "ANTHROPIC_DEFAULT_SONNET_MODEL": MODEL,
    "ANTHROPIC_DEFAULT_HAIKU_MODEL": MODEL,
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
}


def claude(*options: str, **settings: str) -> list[dict[str, Any]]:
    """What it printed for one prompt: JSON, one object or several."""
    done = subprocess.run(
        ["claude", "-p", "Write a file.", *options],
        env=os.environ | SETTINGS | settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=120,
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@feature
def text() -> None:
    """Without a tool to call it says its first word."""
    (result,) = claude("--output-format", "json", "--disallowedTools", "Bash")
    assert (result["result"], result["is_error"]) == (FIRST_WORD, False)


@feature
def stream() -> None:
    told = claude(
        "--output-format", "stream-json", "--verbose", "--include-partial-messages", "--disallowedTools", "Bash"
    )
    events = [line["event"] for line in told if line["type"] == "stream_event"]
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(delta.get("text", "") for delta in deltas) == FIRST_WORD
    assert told[-1]["result"] == FIRST_WORD


@feature
def loop() -> None:
    """It runs the command that the model calls its shell with, and tells the model what came of it."""
    written = Path("scripted.txt")
    written.unlink(missing_ok=True)
    (result,) = claude("--output-format", "json", "--allowedTools", "Bash")
    assert written.read_text() == "scripted\n"
    assert (result["result"], result["num_turns"]) == (LAST_WORD, 2)


@feature
def continued() -> None:
    """The last conversation goes on."""
    (result,) = claude("--output-format", "json", "--continue")
    assert (result["result"], result["is_error"]) == (LAST_WORD, False)


@feature
def usage() -> None:
    (result,) = claude("--output-format", "json", "--disallowedTools", "Bash")
    used = result["usage"]
    assert used["input_tokens"] + used["cache_read_input_tokens"] > 10_000  # its own prompt
    assert used["output_tokens"] > 0


@feature
def errors() -> None:
    (result,) = claude("--output-format", "json", ANTHROPIC_AUTH_TOKEN="wrong", CLAUDE_CODE_MAX_RETRIES="0")
    assert (result["is_error"], result["api_error_status"]) == (True, 401)


run()
