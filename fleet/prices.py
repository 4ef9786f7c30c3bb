"""What a model costs: typed in dollars per 1M tokens, kept as integers. A price that is set later changes no bill."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import transaction

from fleet.models import Profile
from fleet.models.profile import MAX_PRICE
from helexa.usd import NANO, AmountError, parse_usd


@dataclass(frozen=True, slots=True)
class ModelPrices:
    """Nano-USD per 1M tokens. Without a price of their own cached input costs `input`, reasoning `output`."""

    input: int
    output: int
    cached: int | None = None
    reasoning: int | None = None


def parse_price(text: str) -> int:
    """Nano-USD per 1M tokens of a price typed in dollars. Raises ValidationError, a sentence without the field."""
    try:
        price = parse_usd(text)
    except AmountError as error:
        raise ValidationError(str(error)) from None
    if price < 0:
        raise ValidationError("A price cannot be negative; 0 means that it costs nothing.")
    if price > MAX_PRICE:
        raise ValidationError(f"The dearest price is {MAX_PRICE // NANO} dollars per 1M tokens.")
    return price


@transaction.atomic
def set_prices(model_id: str, prices: ModelPrices, *, reason: str) -> Profile:
    """Give a model these prices, from the next request on. Raises Profile.DoesNotExist."""
    profile = Profile.objects.select_for_update().get(model_id=model_id)
    profile.input_price, profile.output_price = prices.input, prices.output
    profile.cached_price, profile.reasoning_price = prices.cached, prices.reasoning
    profile._change_reason = reason  # type: ignore[attr-defined]  # where django-simple-history looks
    profile.save(update_fields=["input_price", "output_price", "cached_price", "reasoning_price"])
    return profile
