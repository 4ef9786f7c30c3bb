"""Names of tools: models know flat ones, Responses clients may group theirs in namespaces."""

from __future__ import annotations

#: A namespace that only says "here are functions": its calls carry no namespace back.
RESERVED_NAMESPACE = "functions"


def flat_name(namespace: str | None, name: str) -> str:
    """The one name of a tool in a namespace. Some end in the separator already (`mcp__files__`)."""
    if not namespace or namespace == RESERVED_NAMESPACE:
        return name
    return f"{namespace.removesuffix('__')}__{name}"
