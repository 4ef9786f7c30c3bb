"""OpenAI's Completions: what a body asks for, as the gateway takes it (WIRE_APIS 2)."""

from __future__ import annotations

from typing import Annotated, cast

import msgspec
from msgspec import Meta

from inference.dialects.completions.answer import CompletionsAnswer
from inference.dialects.dialect import Header
from inference.dialects.json_body import decode_object
from inference.dialects.openai.fields import UNBOUNDED, Fields, sampling, stop_strings, wants_usage
from inference.dialects.parsed import ParsedRequest
from inference.refusals import Refusal, invalid

#: OpenAI's: enough for a word, so that whoever wants more says so.
DEFAULT_MAX_TOKENS = 16
#: The most answers of one request, over all its prompts.
MOST_SEQUENCES = 1024

#: What differs in name from Chat Completions.
_PARAMS = {"messages": "prompt", "top_logprobs": "logprobs", "max_completion_tokens": "max_tokens"}

_Token = Annotated[int, Meta(ge=0, le=UNBOUNDED)]
Prompt = str | list[int]


class _Body(Fields, kw_only=True):
    prompt: str | list[str | _Token | list[_Token]] | None = None
    best_of: Annotated[int, Meta(ge=1, le=128)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None
    suffix: str | None = None


_body = msgspec.json.Decoder(_Body)


class CompletionsRequest(ParsedRequest, frozen=True, kw_only=True):
    """Of every prompt `n` answers are made, which a client calls `best_of`, and the `given` likeliest of them given."""

    given: int
    logprobs: bool
    include_usage: bool

    @property
    def default_max_tokens(self) -> int:
        return DEFAULT_MAX_TOKENS

    def param(self, field: str) -> str:
        return _PARAMS.get(field, field)

    def answer(self, request_id: str, *, model: str, created_s: int) -> CompletionsAnswer:
        return CompletionsAnswer(
            request_id,
            model=model,
            created_s=created_s,
            prompts=len(self.prompts),
            n=self.given,
            best_of=self.n,
            logprobs=self.logprobs,
            include_usage=self.include_usage,
        )


def parse(body: bytes, header: Header) -> CompletionsRequest:
    """POST /v1/completions. Raises Refusal (400) naming the field for everything that is wrong with it."""
    fields = decode_object(body, _body)
    if not fields.model:
        raise Refusal("The field `model` is missing: name the model to use.", code="missing_model_field", param="model")
    if fields.suffix:
        raise invalid("`suffix`: models here continue a prompt, and fill no gap.", "suffix")
    if fields.max_tokens == 0 and not fields.echo:
        raise invalid("The field `max_tokens` must be at least 1; 0 only shows a prompt, with `echo`.", "max_tokens")
    prompts, n = _prompts(fields), fields.n or 1
    best_of = _best_of(fields, n)
    if len(prompts) * best_of > MOST_SEQUENCES:
        message = f"{len(prompts)} prompts of {best_of} answers each are asked for; at most {MOST_SEQUENCES} are given."
        raise invalid(message, "prompt")
    # the likeliest can only be told by log-probabilities
    logprobs = 0 if fields.logprobs is None and best_of > n else fields.logprobs
    return CompletionsRequest(
        model=fields.model,
        prompts=prompts,
        n=best_of,
        given=n,
        max_tokens=None if fields.max_tokens is None else min(fields.max_tokens, UNBOUNDED),
        echo=bool(fields.echo),
        prompt_logprobs=fields.logprobs if fields.echo else None,
        logprobs=fields.logprobs is not None,
        sampling=sampling(fields, logprobs=logprobs),
        stop=stop_strings(fields.stop),
        stream=bool(fields.stream),
        include_usage=wants_usage(fields),
    )


def _prompts(fields: _Body) -> list[Prompt]:
    """A text, texts, the tokens of one prompt, or those of several."""
    prompt = fields.prompt
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        raise invalid("The field `prompt` must be a text, a list of texts, or tokens.", "prompt")
    kinds = {type(one) for one in prompt}
    if len(kinds) > 1:
        raise invalid("The field `prompt` mixes texts, tokens and lists of tokens.", "prompt")
    return [cast(list[int], prompt)] if kinds == {int} else cast(list[Prompt], prompt)


def _best_of(fields: _Body, n: int) -> int:
    best_of = fields.best_of or n
    if best_of < n:
        raise invalid(f"`best_of` is {best_of}, but must be at least `n`, which is {n}.", "best_of")
    if best_of > n and fields.stream:
        raise invalid(
            "`best_of` is chosen when all answers are there: with more than `n` they cannot stream.", "best_of"
        )
    return best_of
