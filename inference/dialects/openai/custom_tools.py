"""Custom tools: their input is any text. To a model each is a function of one string, which clients never see."""

from __future__ import annotations

import msgspec

from inference.requests import Tool

_SCHEMA = (
    '{"type":"object","properties":{"input":{"type":"string","description":"The whole input of the tool, as raw text"}}'
    ',"required":["input"],"additionalProperties":false}'
)

_encode = msgspec.json.Encoder().encode
_values = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)

#: The most characters of an escape that a cut may have left: `\u12a`.
_LONGEST_ESCAPE = 6


def custom_tool(name: str, description: str | None, *, syntax: str | None, definition: str | None) -> Tool:
    """The function that stands for a custom tool. Its grammar is told and not enforced: its text travels as JSON."""
    parts = [description] if description else []
    if definition:
        parts.append(f"The input keeps to this {syntax or ''} grammar:\n{definition}")
    return Tool(name, "\n\n".join(parts) or None, _SCHEMA)


def arguments_of(text: str) -> str:
    """The arguments by which a model called the function."""
    return _encode({"input": text}).decode()


def input_of(arguments: str) -> str:
    """The input in the arguments that a model made, whatever it called it; what was cut off is read as far as it goes.

    Arguments that hold no text are the input themselves.
    """
    for spelled in (arguments, *(arguments[: len(arguments) - cut] + '"}' for cut in range(_LONGEST_ESCAPE))):
        try:
            values = _values.decode(spelled)
            if not values:
                return ""
            return _text.decode(values.get("input") or next(iter(values.values())))
        except (msgspec.DecodeError, RecursionError):
            continue
    return arguments
