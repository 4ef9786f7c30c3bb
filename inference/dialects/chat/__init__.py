"""OpenAI's Chat Completions (WIRE_APIS 1)."""

from inference.dialects.chat.request import parse

__all__ = ["parse"]
