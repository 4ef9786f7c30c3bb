"""In whose words a refusal is said: by the path, or by a header that only one kind of client sends (WIRE_APIS 0.1)."""

from __future__ import annotations

from collections.abc import Iterable

from inference.dialects.dialect import Envelope
from inference.dialects.messages import errors as anthropic_errors
from inference.dialects.openai import errors as openai_errors


def speaks_anthropic(path: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return path.startswith("/v1/messages") or any(name == b"anthropic-version" for name, _ in headers)


def envelope_of(path: str, headers: Iterable[tuple[bytes, bytes]]) -> Envelope:
    """How a request is refused, whichever part of it was wrong."""
    return anthropic_errors if speaks_anthropic(path, headers) else openai_errors
