"""What is done with a request before it waits for the device, on a thread that does not own one."""

from __future__ import annotations

import logging

from inference import grants
from inference.engine.grammars import grammar_definitions, tool_grammars
from inference.engine.grammars.grammar import Constraint, GrammarBusyError, GrammarError
from inference.engine.model import LoadedModel
from inference.engine.prompts.conversations import PromptError
from inference.engine.prompts.prompts import TemplateFailedError
from inference.engine.requests import checks
from inference.engine.requests.generation import Generation
from inference.events import Failed, Finished
from inference.grammars import JsonObject, JsonSchema
from inference.requests import GenerationRequest

logger = logging.getLogger(__name__)


def takes_long(request: GenerationRequest) -> bool:
    """Whether a request is admitted on a thread of its own account's, while others go on."""
    return request.only_count or request.truncate or _keeps_to_grammar(request)


def admit(
    request: GenerationRequest, model: LoadedModel | None, *, arrived_at: float = 0.0
) -> Generation | Finished | Failed:
    """Render, tokenize and measure the prompt, against the context first and then against the grant; then the grammar.

    A request that only asks how long its prompt is has its end here.
    A fault in any of it fails this request alone. May take seconds where there is a grammar.
    """
    if model is None:
        return not_loaded(request.model)
    try:
        return checks.refusal(request, model) or _admit(request, model, arrived_at)
    except (GrammarError, GrammarBusyError, PromptError, TemplateFailedError) as fault:
        return _told(fault, request)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # a tokenizer in Rust panics with what is no Exception
        logger.exception("request %s could not be prepared", request.id)
        return Failed(None, "The messages could not be turned into a prompt for this model.")


def _admit(request: GenerationRequest, model: LoadedModel, arrived_at: float) -> Generation | Finished | Failed:
    prompts = model.prompts.of(request, most_tokens=model.limits.prompt_tokens)
    lengths = [len(prompt.token_ids) for prompt in prompts]
    if not min(lengths):
        return checks.invalid("prompt", "`prompt` is empty: there is nothing to continue.")
    if request.only_count:
        return Finished("stop", sum(lengths), 0)
    if max(lengths) > model.limits.prompt_tokens:
        return too_long(max(lengths), model)
    context_tokens = model.limits.context_tokens
    bound = min(request.max_tokens, context_tokens - min(lengths))
    over_grant = grants.refusal(request, prompt_tokens=sum(lengths), bound=bound)
    return over_grant or Generation(
        request,
        model,
        prompts,
        context_tokens=context_tokens,
        arrived_at=arrived_at,
        constraint=_constraint(request, model),
    )


def _told(
    fault: GrammarError | GrammarBusyError | PromptError | TemplateFailedError, request: GenerationRequest
) -> Failed:
    """What a client is told that was refused for a reason of its own."""
    match fault:
        case GrammarError():
            return checks.invalid(fault.param or grammar_field(request), str(fault))
        case GrammarBusyError():
            return Failed("rate_limit_exceeded", str(fault), retry_after_s=2)
        case PromptError():
            return checks.invalid(fault.param, str(fault))
        case TemplateFailedError():
            return Failed("template_render_failed", str(fault), {"model_id": request.model}, param="tools")


def _constraint(request: GenerationRequest, model: LoadedModel) -> Constraint | None:
    if not _keeps_to_grammar(request):
        return None
    text = grammar_definitions.definition(request.grammar) if request.grammar else None
    if request.tool_use is None or not tool_grammars.are_kept_to(request):
        assert text is not None
        return model.grammars.compile(text, account=request.account)
    try:
        calls = tool_grammars.definition(request.tool_use, model.family.calls, text)
        return model.grammars.compile(calls, account=request.account)
    except GrammarError as fault:
        if text is not None:  # that alone is refused at its own field
            model.grammars.compile(text, account=request.account)
        raise GrammarError(str(fault), param="tools") from fault


def _keeps_to_grammar(request: GenerationRequest) -> bool:
    return request.grammar is not None or tool_grammars.are_kept_to(request)


def grammar_field(request: GenerationRequest) -> str:
    """The field of Chat Completions that a grammar comes from, ours where it has none."""
    if request.grammar is None:
        return "tools"
    return "response_format" if isinstance(request.grammar, JsonObject | JsonSchema) else "grammar"


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
