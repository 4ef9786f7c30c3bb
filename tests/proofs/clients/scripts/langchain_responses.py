"""LangChain's ChatOpenAI with `use_responses_api`."""

from __future__ import annotations

from features import MODEL
from langchain_calls import try_all
from langchain_openai import ChatOpenAI

#: LangChain shows summaries of what was thought, and a summary comes where one is asked for.
THINKING = {"effort": "low", "summary": "auto"}

try_all(
    ChatOpenAI(model=MODEL, max_retries=0, use_responses_api=True),
    ChatOpenAI(model=MODEL, max_retries=0, use_responses_api=True, reasoning=THINKING, output_version="v1"),
    ChatOpenAI(model=MODEL, max_retries=0, use_responses_api=True, api_key="wrong"),
)
