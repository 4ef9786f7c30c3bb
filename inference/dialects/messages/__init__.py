"""Anthropic's Messages (WIRE_APIS 4)."""

from inference.dialects.messages.request import parse

__all__ = ["parse"]
