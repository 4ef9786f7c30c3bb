"""The OpenAI Agents SDK as it is: over Responses."""

from __future__ import annotations

from agents_runs import try_all

try_all("responses")
