"""The OpenAI Agents SDK over Chat Completions."""

from __future__ import annotations

from agents_runs import try_all

try_all("chat_completions")
