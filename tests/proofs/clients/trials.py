"""Which scripts are run in which environment, and what they report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.proofs.clients.environments import ENVIRONMENTS
from tests.proofs.clients.serving import Served

SCRIPTS = Path(__file__).parent / "scripts"
#: What a slow machine takes for the longest script; whoever takes longer hangs.
LIMIT_S = 300


class Trial(NamedTuple):
    """A script that is run in an environment, speaking one API. `client` is what readers know it as."""

    environment: str
    client: str
    api: str
    script: str

    @property
    def name(self) -> str:
        return f"{self.environment}/{Path(self.script).stem}"


class Outcome(NamedTuple):
    """What ran, by feature: None is well, else it is what went wrong."""

    trial: Trial
    faults: dict[str, str | None]


TRIALS = [
    Trial("openai-current", "openai SDK", "Chat Completions", "openai_chat.py"),
    Trial("openai-current", "openai SDK", "Responses", "openai_responses.py"),
    Trial("openai-previous", "openai SDK", "Chat Completions", "openai_chat.py"),
    Trial("openai-previous", "openai SDK", "Responses", "openai_responses.py"),
    Trial("anthropic-current", "anthropic SDK", "Messages", "anthropic_messages.py"),
    Trial("anthropic-previous", "anthropic SDK", "Messages", "anthropic_messages.py"),
    Trial("litellm", "LiteLLM", "Chat Completions", "litellm_chat.py"),
    Trial("litellm", "LiteLLM", "Responses", "litellm_responses.py"),
    Trial("litellm", "LiteLLM", "Messages", "litellm_messages.py"),
    Trial("langchain-openai", "LangChain", "Chat Completions", "langchain_chat.py"),
    Trial("langchain-openai", "LangChain", "Responses", "langchain_responses.py"),
    Trial("langchain-anthropic", "LangChain", "Messages", "langchain_messages.py"),
    Trial("openai-agents", "OpenAI Agents SDK", "Responses", "agents_responses.py"),
    Trial("openai-agents", "OpenAI Agents SDK", "Chat Completions", "agents_chat.py"),
    Trial("ai-sdk", "Vercel AI SDK", "Chat Completions", "ai_sdk_chat.mjs"),
    Trial("ai-sdk", "Vercel AI SDK", "Responses", "ai_sdk_responses.mjs"),
    Trial("ai-sdk", "Vercel AI SDK", "Messages", "ai_sdk_messages.mjs"),
    Trial("claude-code", "Claude Code", "Messages", "claude_code.py"),
    Trial("codex", "Codex", "Responses", "codex.py"),
]


def run(trial: Trial, served: Served, *, python: str | None = None) -> Outcome:
    """Run a script with nothing of ours in its environment but base URLs and the key, and a HOME of its own.

    `python` is another interpreter that has the client installed.
    """
    environment = ENVIRONMENTS[trial.environment]
    script = SCRIPTS / trial.script
    with tempfile.TemporaryDirectory(prefix="helexa-client-") as home:
        command = [python, str(script)] if python else environment.command(script)
        try:
            done = subprocess.run(
                command,
                env=variables(served, home=home, search_path=environment.search_path()),
                cwd=home,
                stdout=subprocess.PIPE,
                timeout=LIMIT_S,
                text=True,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            return Outcome(trial, {**_read(_text(late.stdout)), "end": f"did not end within {LIMIT_S} s"})
    faults = _read(done.stdout)
    if done.returncode or not faults:
        faults["end"] = f"ended with status {done.returncode}"
    return Outcome(trial, faults)


def variables(served: Served, *, home: str, search_path: str) -> dict[str, str]:
    """What a client finds in its environment: OpenAI's take the URL with `/v1`, Anthropic's without."""
    kept = {name: os.environ[name] for name in ("LANG", "TMPDIR", "ONLY_FEATURES") if name in os.environ}
    return {
        **kept,
        "HOME": home,
        "PATH": search_path,
        "OPENAI_BASE_URL": f"{served.url}/v1",
        "OPENAI_API_KEY": served.key,
        "ANTHROPIC_BASE_URL": served.url,
        "ANTHROPIC_API_KEY": served.key,
        "LITELLM_LOCAL_MODEL_COST_MAP": "true",  # else it asks its maker for prices
    }


def _read(output: str) -> dict[str, str | None]:
    faults: dict[str, str | None] = {}
    for line in output.splitlines():
        try:
            told = json.loads(line)
            faults[told["feature"]] = told["fault"]
        except (ValueError, KeyError, TypeError):
            print(line, file=sys.stderr)
    return faults


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""
