"""Errors that the server gives itself, before or instead of an application."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus

#: (status, path, message) -> headers and body. The path is empty where the request line could not be read.
RenderError = Callable[[int, str, str], tuple[list[tuple[bytes, bytes]], bytes]]

_MESSAGES = {
    400: "The request line or a header is malformed or too long, or the body is not framed as HTTP/1.1 asks.",
    408: "The request did not arrive in time.",
    413: "The request body is larger than this server accepts.",
    500: "The server failed to answer this request.",
}


def error_response(render: RenderError, status: int, path: bytes) -> bytes:
    """A whole HTTP/1.1 response that ends its connection."""
    headers, body = render(status, path.decode("ascii", "replace").partition("?")[0], _MESSAGES[status])
    lines = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode())]
    lines += [b"%b: %b" % header for header in headers if header[0].lower() != b"content-length"]
    lines += [b"content-length: %d" % len(body), b"date: " + http_date(), b"connection: close", b"", body]
    return b"\r\n".join(lines)


def http_date() -> bytes:
    return formatdate(usegmt=True).encode()
