"""Request bodies of /api/: JSON objects of a bounded size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework import status
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

#: The largest thing anybody sends here is a list of model ids.
MOST_BYTES = 1 << 20


class TooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"
    default_detail = f"The body has more than {MOST_BYTES} bytes."


class BoundedJson(BaseParser):
    """One JSON object. NaN is read as Python does, so that the field it stands in can refuse it by name."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        body = stream.read(MOST_BYTES + 1)
        if len(body) > MOST_BYTES:
            raise TooLarge
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as fault:
            raise ParseError(f"The body is not JSON: {fault}.") from None
        if not isinstance(document, dict):
            raise ParseError('The body must be a JSON object, such as {"name": "chemistry"}.')
        return document
