"""LiteLLM with `anthropic/MODEL`: Messages."""

from __future__ import annotations

from litellm_calls import try_all

try_all("anthropic")
