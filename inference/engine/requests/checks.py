"""What a request may not ask of a model, found before it waits for anything."""

from __future__ import annotations

import math
from collections.abc import Iterator

from inference.engine.model import LoadedModel
from inference.engine.prompts.rendering import RESERVED
from inference.events import Failed
from inference.requests import GenerationRequest, Sampling

#: The most top log-probabilities of one token, of answer or prompt; OpenAI's bound.
MOST_TOP_LOGPROBS = 20


#: The most answers of one request, over all its prompts.
MOST_SEQUENCES = 1024

#: The most that a setting adds to a logit or scales it by: far more than decides anything, far less than overflows.
_MOST = 1000.0
#: The least and the most of each setting of `Sampling`; NaN is neither.
_RANGES = {
    "temperature": (0.0, _MOST),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "presence_penalty": (-_MOST, _MOST),
    "frequency_penalty": (-_MOST, _MOST),
    "repetition_penalty": (1 / _MOST, _MOST),
}


def refusal(request: GenerationRequest, model: LoadedModel) -> Failed | None:
    """The first field that this model cannot take, None where there is none."""
    return next(_refusals(request, width=model.vocabulary.width), None)


def invalid(param: str, message: str) -> Failed:
    """The request itself is wrong, at the field `param`, and will be so when it is sent again."""
    return Failed("invalid_value", message, param=param)


def _refusals(request: GenerationRequest, *, width: int) -> Iterator[Failed]:
    sampling = request.sampling
    yield from _out_of_range(sampling)
    if request.n < 1:  # nothing would ever end it
        yield invalid("n", f"`n` is {request.n}, but must be 1 or more.")
    if request.sequences > MOST_SEQUENCES:
        yield invalid("n", f"The request asks for {request.sequences} answers, and at most {MOST_SEQUENCES} are given.")
    if request.max_tokens < 0:
        yield invalid("max_tokens", f"`max_tokens` is {request.max_tokens}, but must be 0 or more.")
    if request.timeout_s is not None and math.isnan(request.timeout_s):
        yield invalid("timeout_s", "`timeout_s` is no number.")
    if request.echo and not request.prompts:
        yield invalid("echo", "`echo` shows prompts, and messages are none.")
    tokens = {
        "logit_bias": list(sampling.logit_bias),
        "stop_token_ids": request.stop_token_ids,
        "prompt": [token for prompt in request.prompts if isinstance(prompt, list) for token in prompt],
    }
    for field, ids in tokens.items():
        for token in ids:
            if not 0 <= token < width:
                yield invalid(field, f"`{field}` names token {token}, but this model's are 0 to {width - 1}.")
    for field in sorted(RESERVED & request.template_kwargs.keys()):
        yield invalid("chat_template_kwargs", f"`chat_template_kwargs` may not set `{field}`.")
    for field, top in {"top_logprobs": sampling.logprobs, "logprobs": request.prompt_logprobs}.items():
        if top is not None and not 0 <= top <= MOST_TOP_LOGPROBS:
            yield invalid(field, f"`{field}` is {top}, but must be 0 to {MOST_TOP_LOGPROBS}.")


def _out_of_range(sampling: Sampling) -> Iterator[Failed]:
    for token, bias in sampling.logit_bias.items():
        if not abs(bias) <= _MOST:
            yield invalid("logit_bias", f"`logit_bias` of token {token} is {bias:g}, but must be -1000 to 1000.")
    for field, (least, most) in _RANGES.items():
        value = getattr(sampling, field)
        if not least <= value <= most:
            yield invalid(field, f"`{field}` is {value:g}, but must be {least:g} to {most:g}.")
