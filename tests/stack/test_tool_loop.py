"""A conversation of twenty rounds of tools, held in each dialect that has tools, comes to the same.

The model is tiny and random, its calls are forced by grammar, and it reads the whole conversation: were a call or a
result rendered differently for one dialect, what follows would be something else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import pytest
from anthropic import Anthropic
from openai import OpenAI

from tests.models import tiny_model
from tests.stack.running import Key, Stack

MODEL = "calling"
TURNS = 20
#: Weights that put fewer spaces between what they have to write than others do.
SHORT_CALLS = 8
ASKED = "Go on until you are told to stop."
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "green", "blue", "grey"]}, "shade": {"enum": [1, 2, 3, 4, 5, 6, 7]}},
    "required": ["colour", "shade"],
    "additionalProperties": False,
}
TEMPLATE = """\
{%- if tools %}<|im_start|>system
{{ tools | tojson }}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}<tool_call>
{{ call.function.name }} {{ call.function.arguments | tojson }}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


class Said(NamedTuple):
    """What came of one turn: the id and the arguments of its call, or its text; and the tokens of its prompt."""

    call_id: str
    arguments: dict[str, Any] | None
    text: str
    prompt_tokens: int


class Conversation(Protocol):
    """A dialect by its official SDK. `forced` turns have to call, others must not."""

    def ask(self, *, forced: bool, streamed: bool) -> Said: ...

    def tell(self, said: Said, result: str) -> None: ...


class Chat:
    def __init__(self, url: str, key: Key) -> None:
        self.client = OpenAI(base_url=f"{url}/v1", api_key=key.secret, max_retries=0)
        self.messages: list[Any] = [{"role": "user", "content": ASKED}]

    def ask(self, *, forced: bool, streamed: bool) -> Said:
        asked: dict[str, Any] = {
            "model": MODEL,
            "messages": self.messages,
            "tools": [{"type": "function", "function": {"name": "paint", "parameters": SCHEMA}}],
            "tool_choice": "required" if forced else "none",
            "parallel_tool_calls": False,
            "temperature": 0,
            "max_tokens": 400 if forced else 20,
        }
        if streamed:
            with self.client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as events:
                answer: Any = events.get_final_completion()
        else:
            answer = self.client.chat.completions.create(**asked)
        (choice,) = answer.choices
        calls = choice.message.tool_calls or []
        assert choice.finish_reason == ("tool_calls" if forced else "length")
        self.messages.append(choice.message)
        arguments = json.loads(calls[0].function.arguments) if calls else None
        return Said(calls[0].id if calls else "", arguments, choice.message.content or "", answer.usage.prompt_tokens)

    def tell(self, said: Said, result: str) -> None:
        self.messages.append({"role": "tool", "tool_call_id": said.call_id, "content": result})


class Responses:
    """Each turn sends what is new, and names the response before."""

    def __init__(self, url: str, key: Key) -> None:
        self.client = OpenAI(base_url=f"{url}/v1", api_key=key.secret, max_retries=0)
        self.input: list[Any] = [{"role": "user", "content": ASKED}]
        self.previous: str | None = None

    def ask(self, *, forced: bool, streamed: bool) -> Said:
        asked: dict[str, Any] = {
            "model": MODEL,
            "input": self.input,
            "tools": [{"type": "function", "name": "paint", "parameters": SCHEMA, "strict": False}],
            "tool_choice": "required" if forced else "none",
            "parallel_tool_calls": False,
            "temperature": 0,
            "max_output_tokens": 400 if forced else 20,
        }
        if self.previous is not None:
            asked["previous_response_id"] = self.previous
        if streamed and forced:  # the helper has a last response only where it is complete
            with self.client.responses.stream(**asked) as events:
                response: Any = events.get_final_response()
        else:
            response = self.client.responses.create(**asked)
        assert response.status == ("completed" if forced else "incomplete")
        self.previous = response.id
        calls = [item for item in response.output if item.type == "function_call"]
        arguments = json.loads(calls[0].arguments) if calls else None
        return Said(calls[0].call_id if calls else "", arguments, response.output_text, response.usage.input_tokens)

    def tell(self, said: Said, result: str) -> None:
        self.input = [{"type": "function_call_output", "call_id": said.call_id, "output": result}]


class Messages:
    def __init__(self, url: str, key: Key) -> None:
        self.client = Anthropic(base_url=url, api_key=key.secret, max_retries=0)
        self.messages: list[Any] = [{"role": "user", "content": ASKED}]

    def ask(self, *, forced: bool, streamed: bool) -> Said:
        choice = {"type": "any", "disable_parallel_tool_use": True} if forced else {"type": "none"}
        asked: dict[str, Any] = {
            "model": MODEL,
            "messages": self.messages,
            "tools": [{"name": "paint", "input_schema": SCHEMA}],
            "tool_choice": choice,
            "extra_body": {"temperature": 0},
            "max_tokens": 400 if forced else 20,
        }
        if streamed:
            with self.client.messages.stream(**asked) as events:
                message: Any = events.get_final_message()
        else:
            message = self.client.messages.create(**asked)
        assert message.stop_reason == ("tool_use" if forced else "max_tokens")
        self.messages.append({"role": "assistant", "content": message.content})
        (block,) = message.content
        prompt_tokens = message.usage.input_tokens + message.usage.cache_read_input_tokens
        if block.type == "tool_use":
            return Said(block.id, block.input, "", prompt_tokens)
        return Said("", None, block.text, prompt_tokens)

    def tell(self, said: Said, result: str) -> None:
        block = {"type": "tool_result", "tool_use_id": said.call_id, "content": result}
        self.messages.append({"role": "user", "content": [block]})


@pytest.fixture(scope="module")
def calling(stack: Stack, key: Key, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A model whose template shows calls and results, served beside the stack's own."""
    folder = tmp_path_factory.mktemp("calling") / MODEL
    source = tiny_model(folder, eos=False, seed=SHORT_CALLS, max_position_embeddings=8192)
    (source / "chat_template.jinja").write_text(TEMPLATE)
    with stack.also_serving(MODEL, source, key):
        yield


def hold(conversation: Conversation) -> list[Said]:
    """Twenty calls, each answered, every other one streamed; then what the model says when it may not call."""
    turns = []
    for turn in range(TURNS):
        said = conversation.ask(forced=True, streamed=turn % 2 == 1)
        assert said.arguments is not None
        turns.append(said)
        conversation.tell(said, f"{said.arguments['colour']} it is, {turn}")
    return [*turns, conversation.ask(forced=False, streamed=False)]


@pytest.mark.usefixtures("calling")
def test_a_loop_of_twenty_turns_ends_with_the_same_conversation_in_every_dialect(stack: Stack, key: Key) -> None:
    url = stack.gateways["uvicorn"]
    chat, responses, messages = (hold(dialect(url, key)) for dialect in (Chat, Responses, Messages))
    assert len({said.call_id for said in chat + responses + messages if said.call_id}) == 3 * TURNS
    assert len({json.dumps(said.arguments) for said in chat}) > 3  # what the model reads moves it
    for told in (responses, messages):
        assert [said._replace(call_id="") for said in told] == [said._replace(call_id="") for said in chat]
