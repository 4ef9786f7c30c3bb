"""The OpenAI Agents SDK: an agent that calls a tool until it has its last word."""

from __future__ import annotations

from typing import Literal

import openai
from agents import Agent, ModelSettings, Runner, function_tool, set_default_openai_api, set_tracing_disabled
from features import CITIES, FIRST_WORD, LAST_WORD, MODEL, feature, raises, run
from features import lookup as answered
from openai.types.shared import Reasoning
from pydantic import BaseModel

looked_up: list[str] = []


class Weather(BaseModel):
    city: Literal["Paris", "Tokyo"]
    rain: bool


@function_tool
def lookup(city: Literal["Paris", "Tokyo", "Lima"]) -> str:
    """How warm it is in a city."""
    looked_up.append(city)
    return answered(city)


def try_all(api: Literal["chat_completions", "responses"]) -> None:
    """The SDK takes its base URL and key from the environment, and would send traces elsewhere."""
    set_default_openai_api(api)
    set_tracing_disabled(True)
    agent = Agent(name="Greeter", instructions="Be kind.", model=MODEL)
    caller = agent.clone(tools=[lookup])

    @feature
    def text() -> None:
        assert Runner.run_sync(agent, "Hello").final_output == FIRST_WORD

    @feature
    async def stream() -> None:
        result = Runner.run_streamed(agent, "Hello")
        pieces = [
            event.data.delta
            async for event in result.stream_events()
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
        ]
        assert "".join(pieces) == result.final_output == FIRST_WORD

    @feature
    async def asynchronous() -> None:
        assert (await Runner.run(agent, "Hello")).final_output == FIRST_WORD

    @feature
    def tools() -> None:
        """The SDK itself lets the model choose again after the call that it had to make."""
        looked_up.clear()
        settings = ModelSettings(tool_choice="required")
        Runner.run_sync(caller.clone(model_settings=settings), "Hello")
        assert looked_up[0] in CITIES

    @feature
    def loop() -> None:
        looked_up.clear()
        assert Runner.run_sync(caller, "Hello").final_output == LAST_WORD
        assert looked_up == CITIES

    @feature
    async def streamed_loop() -> None:
        looked_up.clear()
        result = Runner.run_streamed(caller, "Hello")
        async for _ in result.stream_events():
            pass
        assert result.final_output == LAST_WORD
        assert looked_up == CITIES

    @feature
    def structured() -> None:
        assert isinstance(Runner.run_sync(agent.clone(output_type=Weather), "Hello").final_output, Weather)

    @feature
    def reasoning() -> None:
        settings = ModelSettings(reasoning=Reasoning(effort="low"))
        result = Runner.run_sync(agent.clone(model_settings=settings), "Hello")
        assert "reasoning_item" in [item.type for item in result.new_items]
        assert result.final_output == FIRST_WORD

    @feature
    def usage() -> None:
        used = Runner.run_sync(agent, "Hello").context_wrapper.usage
        assert used.total_tokens == used.input_tokens + used.output_tokens > 0

    @feature
    def errors() -> None:
        with raises(openai.NotFoundError):
            Runner.run_sync(agent.clone(model="nothing-like-it"), "Hello")

    run()
