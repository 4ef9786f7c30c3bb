"""What /api/schema/ says beyond the views: how one signs in, and the envelope of every fault."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension

_SENTENCE = {"type": "string"}

ENVELOPE = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "field", "fields"],
            "properties": {
                "code": {**_SENTENCE, "description": "What kind of fault, by its status: invalid, forbidden, .."},
                "message": {**_SENTENCE, "description": "A sentence; it begins with the field that is at fault."},
                "field": {**_SENTENCE, "nullable": True, "description": "The first field that is at fault."},
                "fields": {"type": "object", "additionalProperties": _SENTENCE},
            },
        }
    },
}


class KeyScheme(OpenApiAuthenticationExtension):
    target_class = "accounts.api.authentication.KeyAuthentication"
    name = ["bearer", "x-api-key"]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        return [{"type": "http", "scheme": "bearer"}, {"type": "apiKey", "in": "header", "name": "x-api-key"}]


class PersonScheme(OpenApiAuthenticationExtension):
    target_class = "accounts.api.authentication.PersonAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": "sessionid",
            "description": "Signed in at /admin/; what changes something needs the header X-CSRFToken.",
        }


def with_faults(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Every operation may answer with the envelope."""
    result["components"]["schemas"]["Fault"] = ENVELOPE
    fault = {"$ref": "#/components/schemas/Fault"}
    for methods in result["paths"].values():
        for operation in methods.values():
            operation["responses"]["default"] = {
                "description": "A fault.",
                "content": {"application/json": {"schema": fault}},
            }
    return result
