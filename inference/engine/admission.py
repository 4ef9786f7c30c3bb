"""What is checked of a request before it waits for the device, on the thread that submits it."""

from __future__ import annotations

import logging

from inference import grants
from inference.engine.generation import Generation
from inference.engine.model import LoadedModel
from inference.events import Failed
from inference.requests import GenerationRequest

logger = logging.getLogger(__name__)


def admit(
    request: GenerationRequest, model: LoadedModel | None, *, deadline: float | None = None
) -> Generation | Failed:
    """Render, tokenize and measure the prompt, against the context first and then against the grant.

    A fault in template or tokenizer fails this request alone.
    """
    if model is None:
        return not_loaded(request.model)
    try:
        prompt_ids = model.prompts.encode(request.messages)
        if len(prompt_ids) > model.facts.input_limit_tokens:
            return too_long(len(prompt_ids), model)
        bound = min(request.max_tokens, model.facts.context_tokens - len(prompt_ids))
        over_grant = grants.refusal(request, prompt_tokens=len(prompt_ids), bound=bound)
        return over_grant or Generation(request, model, prompt_ids, bound=bound, deadline=deadline)
    except Exception:
        logger.exception("request %s could not be prepared", request.id)
        return Failed(None, "The messages could not be turned into a prompt for this model.")


def not_loaded(model_id: str) -> Failed:
    return Failed("service_unavailable", f"The model {model_id!r} is not loaded here.", {"model_id": model_id})


def too_long(prompt_tokens: int, model: LoadedModel) -> Failed:
    """OpenAI's wording, which clients search for."""
    limit = model.facts.input_limit_tokens
    return Failed(
        "context_length_exceeded",
        f"This model's maximum context length is {limit} tokens. "
        f"However, your messages resulted in {prompt_tokens} tokens.",
        {"prompt_len": prompt_tokens, "max": limit, "model_id": model.id},
    )
