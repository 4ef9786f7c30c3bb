"""Families as tests need them, and answers put through the parser."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inference.engine.answers.markup import Arguments, Begun, Parser, Piece, Said, Schemas
from inference.engine.families import Family, Marker, family_of

#: How many answers of each family a property is held against; there are about 20 of them.
EXAMPLES = max(25, int(os.environ.get("HELEXA_EXAMPLES", "0")) // 20)

TEMPLATES = Path(__file__).parents[2] / "templates"
_MARKERS = (
    "<think>", "</think>", "<tool_call>", "</tool_call>", "[THINK]", "[/THINK]", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]",
    "<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", '<|"|>', "<|python_tag|>",
)  # fmt: skip
IDS = {text: 1000 + number for number, text in enumerate(_MARKERS)}

#: Part of an answer: text, or the token of a marker.
Written = str | int


def family(template: str, *, tokens: bool) -> Family:
    """The family of a template, its markers tokens of their own or spelled."""
    return family_of((TEMPLATES / f"{template}.jinja").read_text(), IDS if tokens else {})


HERMES = family("qwen3", tokens=False)
HERMES_TOKENS = family("qwen3", tokens=True)
XML = family("qwen3-coder", tokens=False)
LLAMA = family("llama3.1", tokens=False)
MISTRAL = family("mistral-args", tokens=False)
GEMMA = family("gemma4", tokens=False)
FAMILIES = [
    family(name, tokens=tokens)
    for name in ("qwen3", "qwen3-coder", "llama3.1", "mistral-args", "gemma4")
    for tokens in (False, True)
]


def written(family: Family, text: str) -> list[Written]:
    """Text with the family's markers as the tokenizer has them."""
    parts: list[Written] = [text]
    for marker in markers_of(family):
        if marker.token is not None:
            parts = [piece for part in parts for piece in _cut(part, marker)]
    return [part for part in parts if part != ""]


def _cut(part: Written, marker: Marker) -> list[Written]:
    if isinstance(part, int) or marker.token is None:
        return [part]
    texts = part.split(marker.text)
    return [piece for text in texts for piece in (text, marker.token)][:-1]


def markers_of(family: Family) -> list[Marker]:
    calls, reasoning = family.calls, family.reasoning
    found = [calls.begin, calls.end, calls.quote, calls.arguments, calls.call_id]
    return [marker for marker in [*found, *(reasoning or ())] if isinstance(marker, Marker)]


def parsed(
    family: Family,
    answer: str | Sequence[Written],
    *,
    calls: bool = True,
    parameters: dict[str, Any] | None = None,
    **options: Any,
) -> list[Piece]:
    """Every piece that the parts of an answer bring, in order, those of one kind that follow each other joined."""
    schemas = Schemas({name: json.dumps(schema) for name, schema in (parameters or {}).items()})
    parser = Parser(family, calls=calls, coerce=schemas.coerce, **options)
    pieces: list[Piece] = []
    for part in written(family, answer) if isinstance(answer, str) else answer:
        if isinstance(part, int) and parser.spelling(part):
            pieces += parser.marker(part)
        else:
            pieces += parser.text(part if isinstance(part, str) else _MARKERS[part - 1000])
        if parser.stopped:
            break
    return joined([*pieces, *parser.finish()])


def joined(pieces: Sequence[Piece]) -> list[Piece]:
    result: list[Piece] = []
    for piece in pieces:
        last = result[-1] if result else None
        if isinstance(piece, Said) and isinstance(last, Said) and (last.kind, last.stop) == (piece.kind, piece.start):
            result[-1] = last._replace(text=last.text + piece.text)
            continue
        if isinstance(piece, Arguments) and isinstance(last, Arguments):
            result[-1] = last._replace(text=last.text + piece.text)
            continue
        result.append(piece)
    return result


def told(pieces: Sequence[Piece]) -> list[Any]:
    """Text as it is, reasoning as `{"reasoning": ..}`, calls as their name with what their arguments spell."""
    result: list[Any] = []
    for piece in pieces:
        if isinstance(piece, Begun):
            assert piece.call == sum(isinstance(each, tuple) for each in result)
            result.append((piece.name, None))
        elif isinstance(piece, Arguments):
            result[-1] = (result[-1][0], json.loads(piece.text))
        elif isinstance(piece, Said):
            result.append(piece.text if piece.kind == "text" else {"reasoning": piece.text})
    return result
