"""How an answer is read: what of its markup means something, by what its request asked for."""

from __future__ import annotations

from inference.engine.answers.markup import Kept, Parser, Schemas
from inference.engine.families import Family
from inference.engine.grammars import tool_grammars
from inference.requests import GenerationRequest


def parser(request: GenerationRequest, family: Family, *, thinking: bool) -> Parser | None:
    """None where nothing has to be told apart: plain texts, and models that do not think and are offered no tools.

    `thinking` says that the prompt ends within reasoning.
    """
    use = request.tool_use
    calls = use is not None and use.choice != "none" and bool(use.tools)
    if request.prompts or not (calls or family.reasoning):
        return None
    return Parser(
        family,
        calls=calls,
        coerce=Schemas({tool.name: tool.parameters for tool in use.tools} if use else {}).coerce,
        thinking=thinking,
        parallel=use is None or use.parallel,
        kept=_kept(request),
    )


def _kept(request: GenerationRequest) -> Kept | None:
    """The calls that a grammar keeps to their form."""
    use = request.tool_use
    if use is None or not tool_grammars.are_kept_to(request):
        return None
    return Kept(tuple(tool.name for tool in tool_grammars.callable_tools(use)), required=use.choice == "required")
