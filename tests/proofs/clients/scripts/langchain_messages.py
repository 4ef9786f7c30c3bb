"""LangChain's ChatAnthropic: Messages."""

from __future__ import annotations

from features import MODEL
from langchain_anthropic import ChatAnthropic
from langchain_calls import try_all

try_all(
    ChatAnthropic(model=MODEL, max_retries=0, max_tokens=1000),
    ChatAnthropic(model=MODEL, max_retries=0, max_tokens=2000, thinking={"type": "enabled", "budget_tokens": 1024}),
    ChatAnthropic(model=MODEL, max_retries=0, max_tokens=1000, api_key="wrong"),
)
