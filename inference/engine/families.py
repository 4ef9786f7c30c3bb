"""What a model writes around its reasoning and its calls of tools: declared here for every family, nowhere else.

A family is told by what its chat template spells and by what its tokenizer has as tokens of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase


class CallForm(Enum):
    """How a call is written between its markers."""

    #: `{"name": .., "arguments": {..}}`, as Hermes and Qwen do.
    JSON = "json"
    #: `<function=NAME>`, then `<parameter=KEY>` VALUE `</parameter>` for each argument, then `</function>`: Qwen Coder,
    #: and Qwen since 3.5. The JSON form is understood as well, and a call that is forced is written in it.
    XML = "xml"
    #: `{"name": .., "parameters": {..}}`; the marker may be missing where the call is the whole answer. Several are
    #: separated by a semicolon.
    LLAMA = "llama"
    #: `[{"name": .., "arguments": {..}}, ..]` behind one marker, or NAME `[ARGS]` `{..}` behind a marker for each call,
    #: with `[CALL_ID]` ID before the arguments in some models. The end of the answer is the end of the call.
    MISTRAL = "mistral"
    #: `call:NAME{KEY:VALUE,..}`: keys without quotes, strings between quotes of their own, all else as in JSON.
    GEMMA = "gemma"


class Marker(NamedTuple):
    """A spelling that means something. Where it is a token of its own only that token does, and not its text."""

    text: str
    token: int | None = None


class Span(NamedTuple):
    """What lies between two markers. `label` is text that follows the first one and belongs to neither."""

    begin: Marker
    end: Marker
    label: str = ""


class Calls(NamedTuple):
    """How a family calls. `end` is None where the value itself, or the end of the answer, ends a call.

    `quote`, `arguments` and `call_id` are the markers inside a call: Gemma's, around a string, and Mistral's two.
    """

    form: CallForm
    begin: Marker
    end: Marker | None
    quote: Marker | None = None
    arguments: Marker | None = None
    call_id: Marker | None = None


class Family(NamedTuple):
    """`reasoning` is None for a model that does not think.

    `declared` says that the model's own template tells of tools. One that does not calls in JSON if it calls at all.
    """

    calls: Calls
    reasoning: Span | None = None
    declared: bool = False

    @property
    def markers(self) -> list[Marker]:
        """All that mean something in what this family reads and writes."""
        calls = self.calls
        thought = self.reasoning[:2] if self.reasoning else ()
        found = (calls.begin, calls.end, calls.quote, calls.arguments, calls.call_id, *thought)
        return [marker for marker in found if marker is not None]


_JSON = Calls(CallForm.JSON, Marker("<tool_call>"), Marker("</tool_call>"))
_XML = Calls(CallForm.XML, Marker("<tool_call>"), Marker("</tool_call>"))
_LLAMA = Calls(CallForm.LLAMA, Marker("<|python_tag|>"), None)
_MISTRAL = Calls(
    CallForm.MISTRAL, Marker("[TOOL_CALLS]"), None, arguments=Marker("[ARGS]"), call_id=Marker("[CALL_ID]")
)
_GEMMA_4 = Calls(CallForm.GEMMA, Marker("<|tool_call>"), Marker("<tool_call|>"), quote=Marker('<|"|>'))
_FUNCTION_GEMMA = Calls(
    CallForm.GEMMA, Marker("<start_function_call>"), Marker("<end_function_call>"), quote=Marker("<escape>")
)

#: What is in a template that shows tools, the most telling first, and how its model calls then.
_CALLS = (
    (re.compile(r"<\|tool_call>"), _GEMMA_4),
    (re.compile(r"<start_function_call>"), _FUNCTION_GEMMA),
    (re.compile(r"\[TOOL_CALLS\]"), _MISTRAL),
    (re.compile(r"<tool_call>.*<function=", re.DOTALL), _XML),
    (re.compile(r"<tool_call>"), _JSON),
    (re.compile(r'<\|start_header_id\|>.*"parameters": ', re.DOTALL), _LLAMA),
)

#: The variable, and no key of a message.
_TOOLS = re.compile(r"(?<!['\".])\btools\b(?!['\"])")

_REASONING = (
    Span(Marker("<think>"), Marker("</think>")),
    Span(Marker("[THINK]"), Marker("[/THINK]")),
    Span(Marker("<|channel>"), Marker("<channel|>"), label="thought\n"),
)


def family_of(template: str, added_tokens: Mapping[str, int]) -> Family:
    """The family of a model by its chat template, empty where it has none, and its tokenizer's added tokens, by id."""
    declared = _TOOLS.search(template) is not None
    calls = next((calls for spelling, calls in _CALLS if declared and spelling.search(template)), _JSON)
    reasoning = next((span for span in _REASONING if _spells(span, template, added_tokens)), None)
    return Family(
        calls._replace(
            begin=_found(calls.begin, added_tokens),
            end=calls.end and _found(calls.end, added_tokens),
            quote=calls.quote and _found(calls.quote, added_tokens),
            arguments=calls.arguments and _found(calls.arguments, added_tokens),
            call_id=calls.call_id and _found(calls.call_id, added_tokens),
        ),
        reasoning
        and reasoning._replace(begin=_found(reasoning.begin, added_tokens), end=_found(reasoning.end, added_tokens)),
        declared,
    )


def template_text(tokenizer: PreTrainedTokenizerBase) -> str:
    """The chat template, or all of them where a model has several by name; empty where it has none."""
    template = tokenizer.chat_template
    return "\n".join(template.values()) if isinstance(template, dict) else template or ""


def _spells(span: Span, template: str, added_tokens: Mapping[str, int]) -> bool:
    return span.begin.text in template or span.begin.text in added_tokens


def _found(marker: Marker, added_tokens: Mapping[str, int]) -> Marker:
    """The marker with its token, where the tokenizer has one for it."""
    return marker._replace(token=added_tokens.get(marker.text))
