"""Answers as a server of the chat API writes them on the wire."""

from __future__ import annotations

import json
from typing import Any

from helexa.loadtest.answers import WORDS

DONE = b"data: [DONE]\n\n"


def completion(words: int = WORDS) -> bytes:
    message = {"role": "assistant", "content": " word" * words}
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()


def chunk(delta: dict[str, Any], *, compact: bool = True) -> bytes:
    separators = (",", ":") if compact else None
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}, separators=separators).encode() + b"\n\n"


def stream(words: int = WORDS, *, compact: bool = True, end: bytes = DONE) -> bytes:
    opening = chunk({"role": "assistant", "content": ""}, compact=compact)
    texts = chunk({"content": ' "word'}, compact=compact) * words
    return opening + texts + chunk({}, compact=compact) + end


def with_length(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def chunked(body: bytes, *, piece_bytes: int = 4096) -> bytes:
    pieces = [body[at : at + piece_bytes] for at in range(0, len(body), piece_bytes)]
    framed = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"
