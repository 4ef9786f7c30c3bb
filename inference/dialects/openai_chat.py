"""OpenAI Chat Completions: a body becomes a GenerationRequest, events become chunks or one answer (WIRE_APIS 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from inference.dialects.assembly import Choice
from inference.dialects.dialect import Content, Header
from inference.dialects.json_body import decode_object
from inference.dialects.openai_errors import last_events
from inference.events import Ended, Finished, Started, Text
from inference.refusals import Refusal, invalid
from inference.requests import GenerationRequest, Message, Sampling

_encode = msgspec.json.Encoder().encode

#: More stop strings than this are refused, as OpenAI documents.
MAX_STOP_STRINGS = 4

#: No model has a context like this; it keeps absurd bounds within what every part can count.
_UNBOUNDED = 2**31 - 1


# -- what comes in -------------------------------------------------------------------------------


class _Part(msgspec.Struct):
    type: str
    text: str | None = None


class _Function(msgspec.Struct):
    name: str
    arguments: str = ""


class _ToolCall(msgspec.Struct):
    id: str
    function: _Function


class _Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Part] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _ResponseFormat(msgspec.Struct):
    type: str


_Tokens = Annotated[int, Meta(ge=1)]
_Penalty = Annotated[float, Meta(ge=-2, le=2)]


class _Body(msgspec.Struct):
    model: str | None = None
    messages: list[_Message] | None = None
    max_tokens: _Tokens | None = None
    max_completion_tokens: _Tokens | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    stop: str | list[str] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    # Known, and refused where they would change the answer: see _refuse_what_is_not_built.
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    response_format: _ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    logit_bias: dict[str, float] | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    chat_template_kwargs: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(_Body)


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed body: everything but what the gateway decides."""

    model: str
    messages: list[Message]
    n: int
    max_tokens: int | None
    sampling: Sampling
    stop: list[str]
    stream: bool
    include_usage: bool

    @property
    def sequences(self) -> int:
        return self.n

    @property
    def default_max_tokens(self) -> None:
        """The model's own."""

    def param(self, field: str) -> str:
        return field

    def generation(
        self,
        attempt_id: str,
        *,
        max_tokens: int,
        granted: int | None,
        account: str | None = None,
        key: str | None = None,
    ) -> GenerationRequest:
        """What a neuron gets: the bound that holds, stated or default, and what the reservation grants, in tokens.

        `account` and `key` say whose share of it this takes.
        """
        return GenerationRequest(
            id=attempt_id,
            model=self.model,
            messages=self.messages,
            n=self.n,
            max_tokens=max_tokens,
            granted=granted,
            sampling=self.sampling,
            stop=self.stop,
            stream=self.stream,
            account=account,
            key=key,
        )

    def answer(self, request_id: str, *, model: str, created_s: int) -> ChatAnswer:
        answer_id = f"chatcmpl-{request_id[4:]}"
        return ChatAnswer(
            answer_id=answer_id, model=model, created_s=created_s, n=self.n, include_usage=self.include_usage
        )


def parse(body: bytes, header: Header) -> ChatRequest:
    """The request in a body. Raises Refusal (400) naming the field for everything that is wrong with it."""
    fields = decode_object(body, _decoder)
    if not fields.model:
        raise Refusal("The field `model` is missing: name the model to use.", code="missing_model_field", param="model")
    if not fields.messages:
        raise invalid("The field `messages` must be a list of at least one message.", "messages")
    _refuse_what_is_not_built(fields)
    return ChatRequest(
        model=fields.model,
        messages=[_message(message, f"messages[{index}]") for index, message in enumerate(fields.messages)],
        n=fields.n or 1,
        max_tokens=_stated_bound(fields),
        sampling=Sampling(
            temperature=1.0 if fields.temperature is None else fields.temperature,
            top_p=1.0 if fields.top_p is None else fields.top_p,
            seed=fields.seed,
        ),
        stop=_stop_strings(fields.stop),
        stream=bool(fields.stream),
        include_usage=bool(fields.stream_options and fields.stream_options.include_usage),
    )


def _stated_bound(fields: _Body) -> int | None:
    """The smaller of the two names that OpenAI gave this bound (MISSION G14)."""
    stated = [bound for bound in (fields.max_completion_tokens, fields.max_tokens) if bound is not None]
    return min(*stated, _UNBOUNDED) if stated else None


def _stop_strings(stop: str | list[str] | None) -> list[str]:
    strings = [stop] if isinstance(stop, str) else stop or []
    if len(strings) > MAX_STOP_STRINGS:
        raise invalid(f"The field `stop` takes at most {MAX_STOP_STRINGS} strings; got {len(strings)}.", "stop")
    return [string for string in strings if string]  # an empty string would stop everything: it says nothing


def _refuse_what_is_not_built(fields: _Body) -> None:
    """A parameter that would change the answer is refused by name, never silently ignored."""
    asked_for = {
        "tools": bool(fields.tools),
        "functions": bool(fields.functions),
        "response_format": fields.response_format is not None and fields.response_format.type != "text",
        "logprobs": bool(fields.logprobs),
        "top_logprobs": bool(fields.top_logprobs),
        "logit_bias": bool(fields.logit_bias),
        "presence_penalty": bool(fields.presence_penalty),
        "frequency_penalty": bool(fields.frequency_penalty),
        "modalities": any(modality != "text" for modality in fields.modalities or []),
        "audio": fields.audio is not None,
        "top_k": (fields.top_k or 0) > 0,
        "min_p": bool(fields.min_p),
        "repetition_penalty": fields.repetition_penalty not in (None, 1.0),
        "chat_template_kwargs": bool(fields.chat_template_kwargs),
    }
    for name, is_asked_for in asked_for.items():
        if is_asked_for:
            raise invalid(f"The parameter `{name}` is not supported with this value.", name)


def _message(message: _Message, at: str) -> Message:
    """A message as chat templates take it. Arguments of earlier tool calls stay text here; the engine reads them."""
    result: Message = {"role": message.role, "content": _text(message.content, f"{at}.content")}
    if message.tool_calls:
        if message.role != "assistant":
            raise invalid("Only an assistant message can hold `tool_calls`.", f"{at}.tool_calls")
        result["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in message.tool_calls
        ]
    elif message.content is None and message.role != "assistant":
        raise invalid(f"A {message.role} message needs `content`.", f"{at}.content")
    if message.role == "tool":
        if not message.tool_call_id:
            raise invalid("A tool message needs `tool_call_id`.", f"{at}.tool_call_id")
        result["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        result["name"] = message.name
    return result


def _text(content: str | list[_Part] | None, at: str) -> str | None:
    """The text of a message; parts are joined by a line break. Whatever is not text is refused by its place."""
    if content is None or isinstance(content, str):
        return content
    texts = []
    for index, part in enumerate(content):
        place = f"{at}[{index}]"
        if part.type in ("image_url", "input_image"):
            raise Refusal("Image parts are not supported by this model.", code="vision_unsupported", param=place)
        if part.type != "text":
            raise invalid(f"Content parts of type `{part.type}` are not supported.", f"{place}.type")
        if part.text is None:
            raise invalid("A text part needs `text`.", f"{place}.text")
        texts.append(part.text)
    return "\n".join(texts)


# -- what goes out -------------------------------------------------------------------------------


def usage(finished: Finished) -> dict[str, Any]:
    """OpenAI's usage object from the engine's counts."""
    return {
        "prompt_tokens": finished.prompt_tokens,
        "completion_tokens": finished.completion_tokens,
        "total_tokens": finished.prompt_tokens + finished.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": finished.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": finished.reasoning_tokens},
    }


class ChatAnswer:
    """The events of `n` choices as chunks or whole. What every chunk shares is encoded once, not per token."""

    def __init__(self, *, answer_id: str, model: str, created_s: int, n: int, include_usage: bool) -> None:
        self._head = {"id": answer_id, "object": "chat.completion", "created": created_s, "model": model}
        self._open = b"data: " + _encode({**self._head, "object": "chat.completion.chunk"})[:-1]
        self._deltas = [self._open + b',"choices":[{"index":%d,"delta":' % index for index in range(n)]
        self._texts = [delta + b'{"content":' for delta in self._deltas]
        self._choices_left = n
        self._last_frame = b""
        self._include_usage = include_usage

    def opening(self, started: Started) -> bytes:
        """The role comes first, once for each choice and in their order: readers append choices as they see them."""
        role = b'{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
        return b"".join(delta + role for delta in self._deltas)

    def content(self, event: Content) -> bytes:
        if isinstance(event, Text):
            return self._texts[event.index] + _encode(event.text) + b'},"finish_reason":null}]}\n\n'
        return self._ended(event) if isinstance(event, Ended) else b""

    def _ended(self, ended: Ended) -> bytes:
        """The finish reason of a choice. That of the last one waits for `closing`, which puts the usage beside it."""
        frame = self._deltas[ended.index] + b'{},"finish_reason":' + _encode(ended.reason) + b"}]"
        self._choices_left -= 1
        if self._choices_left:
            return frame + b"}\n\n"
        self._last_frame = frame
        return b""

    def closing(self, finished: Finished) -> bytes:
        """The last finish reason, the usage where the client looks for it, and `[DONE]`.

        Without `include_usage` no chunk has empty choices: readers that index `choices[0]` would break on one.
        """
        frames = self._last_frame
        if self._include_usage:
            frames += b"}\n\n" + self._open + b',"choices":[]'
        return frames + b',"usage":' + _encode(usage(finished)) + b"}\n\ndata: [DONE]\n\n"

    def broken(self, refusal: Refusal) -> bytes:
        return last_events(refusal)

    def keep_alive(self) -> bytes:
        return b": keep-alive\n\n"

    def whole(self, choices: Sequence[Choice], started: Started, finished: Finished) -> bytes:
        """Choices in order."""
        return _encode(
            {
                **self._head,
                "choices": [
                    {
                        "index": index,
                        "message": {"role": "assistant", "content": choice.text_of("text"), "refusal": None},
                        "logprobs": None,
                        "finish_reason": choice.reason,
                    }
                    for index, choice in enumerate(choices)
                ],
                "usage": usage(finished),
            }
        )
