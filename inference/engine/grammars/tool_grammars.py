"""Calls that a grammar keeps to their form and schemas: where one is required, some may not be made, or one is strict.

They are written as the family does, in JSON wherever its own form is none (WIRE "Grammar and tools").
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from llguidance import LLMatcher

from inference.engine.families import CallForm, Calls, Marker
from inference.engine.grammars.grammar import LONGEST_DEFINITION, GrammarError
from inference.engine.grammars.grammar_definitions import checked_schema, options
from inference.requests import GenerationRequest, Tool, ToolUse

#: For llguidance, which counts no token of a marker as text.
_ANY_TEXT = "/(?s:.*)/"
#: Text that is not taken for a call without a marker.
_NO_OBJECT = r"/([^{\s](?s:.*))?/"
_ANY_OBJECT = json.dumps({"type": "object", "x-guidance": options(strict=False)})


def are_kept_to(request: GenerationRequest) -> bool:
    """Whether the calls of a request keep to a grammar."""
    use = request.tool_use
    if request.prompts or use is None or use.choice == "none" or not use.tools:
        return False
    strict = any(tool.strict for tool in callable_tools(use))
    return use.choice == "required" or bool(use.only) or strict or request.grammar is not None


def definition(use: ToolUse, calls: Calls, answer: str | None = None) -> str:
    """What an answer may be: calls and, where none is required, what `answer` is a definition of, else any text.

    Raises GrammarError where there is no tool to call, and for parameters that are no schema of an object.
    """
    tools = callable_tools(use)
    if not tools:
        raise GrammarError("There is no tool to call.")
    form = [*_start(use, calls, with_answer=answer is not None), *_body(use, calls, len(tools))]
    grammar = "\n".join([*form, *_tools(tools, calls, exact=True)])
    if len(grammar) > LONGEST_DEFINITION // 2:  # agents send hundreds of tools; the answer's own has the other half
        grammar = "\n".join([*form, *_tools(tools, calls, exact=False)])
    if answer is None or use.choice == "required":
        return str(LLMatcher.grammar_from_lark(grammar))
    return json.dumps({"grammars": [{"lark_grammar": grammar}, {**_grammar(answer), "name": "answer"}]})


def callable_tools(use: ToolUse) -> list[Tool]:
    """Those that may be called."""
    return [tool for tool in use.tools if not use.only or tool.name in use.only]


def _start(use: ToolUse, calls: Calls, *, with_answer: bool) -> Iterator[str]:
    """Calls alone, calls or the answer, or text with calls in it. Llama's is the whole answer and has no marker."""
    marked = calls.form is not CallForm.LLAMA
    several = marked and use.parallel and not _is_list(calls)
    begin = _marker(calls.begin) if marked else ""
    made = f"{begin} body" + (f" ({_line(calls)} {begin} body)*" if several else "")
    if use.choice == "required" or with_answer:
        yield f"start: {made}" + ("" if use.choice == "required" else " | @answer")
    elif not marked:
        yield f"start: TEXT | body\nTEXT: {_NO_OBJECT}"
    else:
        yield "start: TEXT | " + ("(text_to_call body)+ TEXT" if several else "text_to_call body")
        yield f"text_to_call{'[lazy]' if calls.begin.token is None else ''}: TEXT {begin}\nTEXT: {_ANY_TEXT}"


def _body(use: ToolUse, calls: Calls, tools: int) -> Iterator[str]:
    """What stands behind the marker that begins a call."""
    call = " | ".join(f"tool_{number}" for number in range(tools))
    if calls.form is CallForm.MISTRAL and _is_list(calls):
        more = ' (", " call)*' if use.parallel else ""
        yield f'body: " "? "[" call{more} "]"\ncall: {call}'
    elif calls.end is not None:
        yield f"body: {_line(calls)} call {_line(calls)} {_marker(calls.end)}\ncall: {call}"
    else:
        yield f"body: {call}"


def _tools(tools: Sequence[Tool], calls: Calls, *, exact: bool) -> Iterator[str]:
    """A rule for each tool, because a `$ref` within a schema counts from that schema's root.

    Where it need not be `exact`, a tool that is not strict takes any object.
    """
    for number, tool in enumerate(tools):
        if calls.form is CallForm.MISTRAL and calls.arguments and not _is_list(calls):
            yield f"tool_{number}: {json.dumps(tool.name)} {_marker(calls.arguments)} arguments_{number}"
        else:
            key = "parameters" if calls.form is CallForm.LLAMA else "arguments"
            opening = json.dumps(f'{{"name": {json.dumps(tool.name)}, "{key}": ')
            yield f'tool_{number}: {opening} arguments_{number} "}}"'
        parameters = _parameters(tool)
        yield f"arguments_{number}: %json {parameters if exact or tool.strict else _ANY_OBJECT}"


def _parameters(tool: Tool) -> str:
    read: dict[str, Any] = checked_schema(tool.parameters, strict=tool.strict)
    types = read.get("type", "object")
    if types != "object" and not (isinstance(types, list) and "object" in types):
        raise GrammarError(f"The parameters of the tool {tool.name!r} are no schema of an object.")
    return json.dumps({**read, "type": "object", "x-guidance": options(strict=tool.strict)})


def _is_list(calls: Calls) -> bool:
    """Of Mistral's: older models, whose tokenizers do not have the other form's marker, write all calls in a list."""
    return calls.form is CallForm.MISTRAL and (calls.arguments is None or calls.arguments.token is None)


def _line(calls: Calls) -> str:
    """What stands before and behind a call and its markers."""
    return r'"\n"' if calls.form in (CallForm.JSON, CallForm.XML) else '""'


def _marker(marker: Marker) -> str:
    return json.dumps(marker.text) if marker.token is None else f"<[{marker.token}]>"


def _grammar(definition: str) -> dict[str, Any]:
    """The only grammar of a definition, which is JSON or rules."""
    if definition.lstrip().startswith("{"):
        [only] = json.loads(definition)["grammars"]
        return dict(only)
    return {"lark_grammar": definition}
