"""What a request becomes once its dialect has been read: the one shape that gateway, wire and engine share.

Nothing here knows Django, Redis or torch.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from inference.grammars import Grammar

#: A message in the shape that chat templates take: `role`, `content` (text or None) and, for tool use, `tool_calls`
#: (arguments as JSON text), `tool_call_id` and `name`. `reasoning_content` is what an earlier answer thought.
Message = dict[str, Any]

#: Whether a model may call, must not, or must.
ToolChoice = Literal["auto", "none", "required"]

#: Output bound in tokens of a request that states none, for a model that has no derived limit yet (MISSION G14).
DEFAULT_MAX_TOKENS = 4096


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the next token is chosen. `temperature` 0 is greedy; `seed` makes each choice repeatable, not all alike.

    `top_k` 0 or less, `top_p` 1 and `min_p` 0 cut nothing. `presence_penalty` and `frequency_penalty` are OpenAI's,
    over the output; `repetition_penalty` is transformers', over prompt and output, 1 being none. `logit_bias` is added
    to the logits of tokens by id. `logprobs` None asks for none, 0 for the chosen token's, more for so many top ones.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: dict[int, float] = {}
    logprobs: int | None = None


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function that a model may ask for. `parameters` is the JSON of the schema of its arguments, an object's."""

    name: str
    description: str | None = None
    parameters: str = '{"type":"object","properties":{}}'
    strict: bool = False


class ToolUse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The tools of a request. `only` are the names of those that may be called, all where it is empty.

    A tool that has to be called is `required`, and `only` it. `parallel` false allows one call in an answer.
    """

    tools: list[Tool]
    choice: ToolChoice = "auto"
    only: list[str] = []
    parallel: bool = True


class Asked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a client asks for: what to answer, how often, how to sample, and where to stop.

    `n` sequences, its choices, continue the one prompt. `stop` holds strings, none of which appears in the text;
    `stop_token_ids` end an answer as the model's own end tokens do, which `ignore_eos` makes ordinary ones, for
    benchmarks. `stream` false lets a neuron send larger pieces.
    `prompts` are whole texts, or their tokens, instead of `messages`, and pass through no chat template: what spells a
    control token in them is one. Each is continued by `n` choices, prompt by prompt: choice `prompt * n + i`. `echo`
    puts its prompt's text in front of every choice, and `prompt_logprobs` asks for those of the prompts, and for so
    many top ones of each token.
    `template_kwargs` reach the chat template as they are. `continue_last` continues the last message, an assistant's,
    instead of opening a new one. `grammar` is what the text of every choice keeps to; calls of `tool_use` keep to a
    grammar of their own where they must. `only_count` asks for the prompt's tokens and generates nothing. `truncate`
    leaves out the oldest `messages` of a conversation that is too long for the model, instead of refusing it.
    """

    model: str
    messages: list[Message] = []
    prompts: list[str | list[int]] = []
    template_kwargs: dict[str, Any] = {}
    continue_last: bool = False
    tool_use: ToolUse | None = None
    echo: bool = False
    only_count: bool = False
    truncate: bool = False
    n: int = 1
    sampling: Sampling = Sampling()
    stop: list[str] = []
    stop_token_ids: list[int] = []
    ignore_eos: bool = False
    grammar: Grammar | None = None
    prompt_logprobs: int | None = None
    stream: bool = False

    @property
    def sequences(self) -> int:
        """How many answers there are, and are paid for: `n` for each of the prompts, or none to a count."""
        return 0 if self.only_count else self.n * max(1, len(self.prompts))


class GenerationRequest(Asked, frozen=True, kw_only=True, omit_defaults=True):
    """One generation: what a client asks for, within what the gateway decides.

    `id` is unique to the attempt, not only to the client's request, so that the events of two attempts never mix.
    `max_tokens` is the output bound of each sequence; the engine never generates a token more, and cuts it to what the
    context leaves. `granted` is what the request may use in tokens, the prompt once and the answers of all sequences;
    None is no limit, for requests that nobody is billed for.
    `account` and `key` say whose share of the device this takes, and an account finds its own prompts in memory and
    nobody else's; None are all that have none. Of a higher `priority` are those that are served first, whatever their
    shares, and that take the places of lower ones. After `timeout_s` seconds the request ends, done or not.
    """

    id: str
    max_tokens: int = DEFAULT_MAX_TOKENS
    granted: int | None = None
    account: str | None = None
    key: str | None = None
    priority: int = 0
    timeout_s: float | None = None
