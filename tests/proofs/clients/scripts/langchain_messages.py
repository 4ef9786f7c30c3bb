"""LangChain's chat model of Anthropic."""

import asyncio
import os

from langchain_anthropic import ChatAnthropic
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

URL, KEY, MODEL = (os.environ[name] for name in ("HELEXA_URL", "HELEXA_KEY", "HELEXA_MODEL"))
chat = ChatAnthropic(model=MODEL, base_url=URL, api_key=KEY, max_tokens=600, max_retries=0)

brief = chat.model_copy(update={"max_tokens": 10})
assert brief.invoke("hello").usage_metadata["output_tokens"] > 0
assert len(list(brief.stream("hello"))) > 1
assert asyncio.run(brief.ainvoke("hello")).content is not None
print("invoke, stream, ainvoke, with usage")


class Weather(BaseModel):
    rain: bool


for method in ("json_schema", "function_calling"):
    assert isinstance(chat.with_structured_output(Weather, method=method).invoke("hello"), Weather)
print("with_structured_output, by schema and by tool")


@tool
def weather(rain: bool) -> str:
    """Ask the sky."""
    return "wet" if rain else "dry"


calling = chat.bind_tools([weather], tool_choice="any", parallel_tool_calls=False)
turns = [HumanMessage("hello")]
for _ in range(3):
    answer = calling.invoke(turns)
    (call,) = answer.tool_calls
    turns += [answer, ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])]
assert chat.get_num_tokens_from_messages(turns, tools=[weather]) > 0
print("bind_tools, three turns; get_num_tokens_from_messages")

try:
    brief.invoke("river " * 200_000)
except ContextOverflowError:
    print("a prompt that is too long is its ContextOverflowError")
else:
    raise AssertionError
