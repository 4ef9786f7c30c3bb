"""What is done with a request before it waits for the device, on a thread that does not own one."""

from __future__ import annotations

import logging

from inference import grants
from inference.engine import checks, grammar_definitions
from inference.engine.conversations import PromptError
from inference.engine.generation import Generation
from inference.engine.grammar import Constraint, GrammarBusyError, GrammarError
from inference.engine.model import LoadedModel
from inference.engine.prompts import TemplateFailedError
from inference.events import Failed
from inference.grammars import Grammar, JsonObject, JsonSchema, ToolCall
from inference.requests import GenerationRequest

logger = logging.getLogger(__name__)


def admit(
    request: GenerationRequest, model: LoadedModel | None, *, deadline: float | None = None
) -> Generation | Failed:
    """Render, tokenize and measure the prompt, against the context first and then against the grant; then the grammar.

    A fault in any of it fails this request alone. May take seconds where there is a grammar.
    """
    if model is None:
        return not_loaded(request.model)
    try:
        return checks.refusal(request, model) or _admit(request, model, deadline)
    except (GrammarError, GrammarBusyError, PromptError, TemplateFailedError) as fault:
        return _told(fault, request)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # a tokenizer in Rust panics with what is no Exception
        logger.exception("request %s could not be prepared", request.id)
        return Failed(None, "The messages could not be turned into a prompt for this model.")


def _admit(request: GenerationRequest, model: LoadedModel, deadline: float | None) -> Generation | Failed:
    prompt = model.prompts.of(request)[0]
    tokens = len(prompt.token_ids)
    if not tokens:
        return checks.invalid("prompt", "`prompt` is empty: there is nothing to continue.")
    if tokens > model.limits.prompt_tokens:
        return too_long(tokens, model)
    bound = min(request.max_tokens, model.limits.context_tokens - tokens)
    over_grant = grants.refusal(request, prompt_tokens=tokens, bound=bound)
    return over_grant or Generation(
        request, model, prompt, bound=bound, deadline=deadline, constraint=_constraint(request, model)
    )


def _told(
    fault: GrammarError | GrammarBusyError | PromptError | TemplateFailedError, request: GenerationRequest
) -> Failed:
    """What a client is told that was refused for a reason of its own."""
    match fault:
        case GrammarError():
            return checks.invalid(grammar_field(request.grammar), str(fault))
        case GrammarBusyError():
            return Failed("rate_limit_exceeded", str(fault), retry_after_s=2)
        case PromptError():
            return checks.invalid(fault.param, str(fault))
        case TemplateFailedError():
            return Failed("template_render_failed", str(fault), {"model_id": request.model}, param="tools")


def _constraint(request: GenerationRequest, model: LoadedModel) -> Constraint | None:
    if request.grammar is None:
        return None
    return model.grammars.compile(grammar_definitions.definition(request.grammar), account=request.account)


def grammar_field(grammar: Grammar | None) -> str:
    """The field of Chat Completions that a grammar comes from, ours where it has none."""
    if isinstance(grammar, JsonObject | JsonSchema):
        return "response_format"
    return "tools" if isinstance(grammar, ToolCall) else "grammar"


def not_loaded(model_id: str) -> Failed:
    return Failed("service_unavailable", f"The model {model_id!r} is not loaded here.", {"model_id": model_id})


def too_long(prompt_tokens: int, model: LoadedModel) -> Failed:
    """OpenAI's wording, which clients search for."""
    limit = model.limits.prompt_tokens
    return Failed(
        "context_length_exceeded",
        f"This model's maximum context length is {limit} tokens. "
        f"However, your messages resulted in {prompt_tokens} tokens.",
        {"prompt_len": prompt_tokens, "max": limit, "model_id": model.id},
    )
