"""LangChain's chat models: the same features for each, whatever API is under it."""

from __future__ import annotations

from typing import Any, Literal

from features import CITIES, FIRST_WORD, LAST_WORD, THOUGHT, feature, raises, run
from features import lookup as answered
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.tools import tool
from pydantic import BaseModel, ConfigDict


class Weather(BaseModel):
    """The weather in a city."""

    model_config = ConfigDict(extra="forbid")

    city: Literal["Paris", "Tokyo"]
    rain: bool


class City(BaseModel):
    model_config = ConfigDict(extra="forbid")

    city: Literal["Paris", "Tokyo", "Lima"]


@tool(args_schema=City)
def lookup(city: str) -> str:
    """How warm it is in a city."""
    return answered(city)


def try_all(chat: BaseChatModel, thinking: BaseChatModel | None, wrong_key: BaseChatModel) -> None:
    """`thinking` is the same model set to think, where LangChain passes on what it thought."""

    @feature
    def text() -> None:
        assert chat.invoke("Hello").text == FIRST_WORD

    @feature
    def stream() -> None:
        pieces = list(chat.stream("Hello"))
        assert "".join(piece.text for piece in pieces) == FIRST_WORD
        assert len(pieces) > 5

    @feature
    async def asynchronous() -> None:
        assert (await chat.ainvoke("Hello")).text == FIRST_WORD
        assert "".join([piece.text async for piece in chat.astream("Hello")]) == FIRST_WORD

    @feature
    def tools() -> None:
        for choice in ("auto", "any", "lookup"):
            (call,) = chat.bind_tools([lookup], tool_choice=choice).invoke("Hello").tool_calls
            assert call["args"]["city"] in CITIES, choice
        whole = AIMessageChunk(content="")
        for piece in chat.bind_tools([lookup]).stream("Hello"):
            whole += piece
        assert whole.tool_calls[0]["args"]["city"] in CITIES

    @feature
    def loop() -> None:
        bound = chat.bind_tools([lookup])
        messages: list[Any] = [HumanMessage("Hello")]
        while (message := bound.invoke(messages)).tool_calls:
            messages += [message, *(lookup.invoke(call) for call in message.tool_calls)]
        assert message.text == LAST_WORD
        assert len(messages) == 1 + 2 * len(CITIES)

    @feature
    def structured() -> None:
        for method in ("json_schema", "function_calling"):
            assert isinstance(chat.with_structured_output(Weather, method=method).invoke("Hello"), Weather), method

    if thinking is not None:

        @feature
        def reasoning() -> None:
            blocks = thinking.invoke("Hello").content_blocks
            assert "".join(block["reasoning"] for block in blocks if block["type"] == "reasoning").strip() == THOUGHT

    @feature
    def usage() -> None:
        used = chat.invoke("Hello").usage_metadata
        assert used["total_tokens"] == used["input_tokens"] + used["output_tokens"]
        whole = AIMessageChunk(content="")
        for piece in chat.stream("Hello"):
            whole += piece
        assert whole.usage_metadata["total_tokens"] == used["total_tokens"]

    @feature
    def errors() -> None:
        with raises(Exception) as raised:
            wrong_key.invoke("Hello")
        assert type(raised[0]).__name__.endswith("AuthenticationError")

    run()
