"""What an answer can be asked to keep to, token by token: part of a request, on the wire and in the engine.

Schemas travel as the JSON text they came in: nothing on the way has to walk through them, however deep they are.
"""

from __future__ import annotations

import msgspec


class JsonObject(msgspec.Struct, frozen=True, tag="json_object"):
    """Any JSON object."""


class JsonSchema(msgspec.Struct, frozen=True, tag="json_schema"):
    """JSON of a schema. `strict` refuses keywords that cannot be enforced; without it they are left out."""

    schema: str
    strict: bool = False


class Regex(msgspec.Struct, frozen=True, tag="regex"):
    """Text that a regular expression of the Rust crate `regex-syntax` matches in whole, without look-around."""

    pattern: str


class Lark(msgspec.Struct, frozen=True, tag="lark"):
    """Text of a context-free grammar, in llguidance's form of Lark."""

    text: str


Grammar = JsonObject | JsonSchema | Regex | Lark
