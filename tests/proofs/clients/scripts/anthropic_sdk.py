"""The anthropic SDK, of any major version that has these methods."""

import asyncio
import os

import anthropic

URL, KEY, MODEL = (os.environ[name] for name in ("HELEXA_URL", "HELEXA_KEY", "HELEXA_MODEL"))
HELLO = {"role": "user", "content": "hello"}
WEATHER = {
    "name": "weather",
    "input_schema": {
        "type": "object",
        "properties": {"rain": {"type": "boolean"}},
        "required": ["rain"],
        "additionalProperties": False,
    },
}
client = anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0)

message = client.messages.create(model=MODEL, max_tokens=10, messages=[HELLO])
assert message.stop_reason in ("max_tokens", "end_turn")
print("a whole message")

with client.messages.stream(model=MODEL, max_tokens=10, messages=[HELLO]) as stream:
    text = "".join(stream.text_stream)
    assert text == "".join(block.text for block in stream.get_final_message().content)
print("a stream, put together by its helper")


async def asynchronously() -> None:
    other = anthropic.AsyncAnthropic(base_url=URL, api_key=KEY, max_retries=0)
    async with other.messages.stream(model=MODEL, max_tokens=10, messages=[HELLO]) as events:
        assert [event.type async for event in events][-1] == "message_stop"
    await other.close()


asyncio.run(asynchronously())
print("the async client")

counted = client.messages.count_tokens(model=MODEL, messages=[HELLO]).input_tokens
assert counted == message.usage.input_tokens + message.usage.cache_read_input_tokens
print("counting, equal to what was used")

turns = [HELLO]
for number in range(4):
    choice = {"type": "any", "disable_parallel_tool_use": True}
    asked = {"model": MODEL, "max_tokens": 600, "messages": turns, "tools": [WEATHER], "tool_choice": choice}
    if number % 2:
        message = client.messages.create(**asked)
    else:
        with client.messages.stream(**asked) as stream:
            message = stream.get_final_message()
    calls = [block for block in message.content if block.type == "tool_use"]
    assert calls
    assert all(isinstance(call.input["rain"], bool) for call in calls)
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "wet"} for call in calls]
    turns += [{"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
print("four turns of tools, whole and streamed")

try:
    client.messages.create(model="no/such", max_tokens=10, messages=[HELLO])
except anthropic.NotFoundError as fault:
    print(f"an error of its own class, with the request's id: {fault.request_id}")
else:
    raise AssertionError

assert MODEL in [model.id for model in client.models.list()]
print("the list of models")
