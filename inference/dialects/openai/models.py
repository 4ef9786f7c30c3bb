"""OpenAI's list of models, with what helexa adds to each entry (MISSION G5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ModelEntry = dict[str, Any]


def entry(
    model_id: str,
    *,
    created_s: int,
    locations: Sequence[tuple[str, str]],
    facts: Sequence[Mapping[str, Any]],
    limit: Mapping[str, int] | None,
    cost: Mapping[str, float] | None,
) -> ModelEntry:
    """One model. `locations` are (neuron, status); `facts` is what each neuron that holds it says of it.

    Abilities are the union of what neurons say. `limit` is None for a model that is loaded nowhere, and `cost`, in USD
    per 1M tokens, for one without a price.
    """
    statuses = {status for _, status in locations}
    status = next((status for status in ("loaded", "loading", "failed") if status in statuses), "unloaded")
    result: ModelEntry = {
        "id": model_id,
        "object": "model",
        "created": created_s,
        "owned_by": "helexa",
        "status": status,
        "loaded": "loaded" in statuses,
        "locations": [{"node": node, "status": status} for node, status in locations],
        "capabilities": sorted({"text", *(ability for fact in facts for ability in fact.get("capabilities", []))}),
        "tool_call": any(fact.get("tool_call") for fact in facts),
        "reasoning": any(fact.get("reasoning") for fact in facts),
    }
    if limit is not None:
        result["limit"] = dict(limit)
    if cost is not None:
        result["cost"] = dict(cost)
    templates = {fact["chat_template"] for fact in facts if "chat_template" in fact}
    if templates:
        # "default": a base model without a chat template of its own gets a plain one.
        result["chat_template"] = "model" if "model" in templates else "default"
    return result
