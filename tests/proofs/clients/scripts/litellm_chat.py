"""LiteLLM with `openai/MODEL`: Chat Completions."""

from __future__ import annotations

from litellm_calls import try_all

try_all("openai")
