"""LangChain's ChatOpenAI with `use_responses_api`."""

from __future__ import annotations

from features import MODEL
from langchain_calls import try_all
from langchain_openai import ChatOpenAI

try_all(
    ChatOpenAI(model=MODEL, max_retries=0, use_responses_api=True),
    ChatOpenAI(model=MODEL, max_retries=0, use_responses_api=True, reasoning={"effort": "low"}, output_version="v1"),
    ChatOpenAI(model=MODEL, max_retries=0, use_responses_api=True, api_key="wrong"),
)
