"""LangChain's ChatOpenAI as it is: Chat Completions. It drops what the model thought."""

from __future__ import annotations

from features import MODEL
from langchain_calls import try_all
from langchain_openai import ChatOpenAI

try_all(
    ChatOpenAI(model=MODEL, max_retries=0, stream_usage=True),
    None,
    ChatOpenAI(model=MODEL, max_retries=0, api_key="wrong"),
)
