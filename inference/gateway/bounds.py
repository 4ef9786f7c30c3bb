"""What a request may need, before anybody has counted its prompt (MISSION G14), and at which prices."""

from __future__ import annotations

from accounts.money import Prices
from fleet.catalogue import CatalogueEntry
from fleet.reports import NeuronReport
from inference.dialects.dialect import DialectRequest
from inference.requests import DEFAULT_MAX_TOKENS

#: The estimate of a prompt: the exact count decides.
BYTES_PER_TOKEN = 4


def prompt_tokens(prompt_bytes: int) -> int:
    return max(1, prompt_bytes // BYTES_PER_TOKEN)


def output_tokens(request: DialectRequest, neuron: NeuronReport) -> int:
    """The bound of one sequence: stated, or the dialect's default, or the model's; never more than the context.

    0 only where it is stated.
    """
    asked = request.max_tokens if request.max_tokens is not None else request.default_max_tokens
    limit = next((model.limit for model in neuron.models if model.id == request.model), None)
    if limit is None:
        return DEFAULT_MAX_TOKENS if asked is None else asked
    if asked == 0:
        return 0
    return max(1, min(limit.output if asked is None else asked, limit.context))


def prices_of(entry: CatalogueEntry | None) -> Prices | None:
    if entry is None or entry.input_price is None or entry.output_price is None:
        return None
    return Prices(entry.input_price, entry.output_price, entry.cached_price, entry.reasoning_price)
