"""What a request becomes once its dialect has been read: the one shape that gateway, wire and engine share.

Nothing here knows Django, Redis or torch.
"""

from __future__ import annotations

from typing import Any

import msgspec

#: A message in the shape that chat templates take: `role`, `content` (text or None) and, for tool use,
#: `tool_calls` (arguments as objects), `tool_call_id` and `name`.
Message = dict[str, Any]

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


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One generation: what to answer, how often, how to sample, and where to stop.

    `id` is unique to the attempt, not only to the client's request, so that the events of two attempts never mix.
    `n` sequences, its choices, continue the one prompt. `max_tokens` is the output bound of each of them; the engine
    never generates a token more, and cuts it to what the context leaves. `granted` is what the request may use in
    tokens, the prompt once and the answers of all sequences; None is no limit, for requests that nobody is billed for.
    `stop` holds up to four strings, none of which appears in the text. `stream` false lets a neuron send larger pieces.
    `ignore_eos` goes on after tokens that end an answer, for measurements.
    """

    id: str
    model: str
    messages: list[Message]
    n: int = 1
    max_tokens: int = DEFAULT_MAX_TOKENS
    granted: int | None = None
    sampling: Sampling = Sampling()
    stop: list[str] = []
    stream: bool = False
    ignore_eos: bool = False
