"""What the inference path keeps: a file per noun."""

from inference.models.stored_response import StoredResponse

__all__ = ["StoredResponse"]
