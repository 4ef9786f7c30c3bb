"""LiteLLM's `responses`."""

from __future__ import annotations

from typing import Any

import litellm
from features import FIRST_WORD, MODEL, feature, raises, run

ASKED: dict[str, Any] = {"model": f"openai/{MODEL}", "input": "Hello", "num_retries": 0}


@feature
def text() -> None:
    assert litellm.responses(**ASKED).output_text == FIRST_WORD


@feature
def stream() -> None:
    events = list(litellm.responses(**ASKED, stream=True))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == FIRST_WORD


@feature
async def asynchronous() -> None:
    assert (await litellm.aresponses(**ASKED)).output_text == FIRST_WORD


@feature
def usage() -> None:
    used = litellm.responses(**ASKED).usage
    assert used.total_tokens == used.input_tokens + used.output_tokens


@feature
def errors() -> None:
    with raises(litellm.AuthenticationError):
        litellm.responses(**ASKED, api_key="wrong")


run()
