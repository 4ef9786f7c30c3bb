"""OpenAI's Completions (WIRE_APIS 2)."""

from inference.dialects.completions.request import parse

__all__ = ["parse"]
