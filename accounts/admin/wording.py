"""Small pieces of text and markup that the pages share."""

from __future__ import annotations

from datetime import datetime

from django.core.exceptions import ValidationError
from django.template.loader import render_to_string
from django.utils.timesince import timesince


def badge(text: str, colour: str) -> str:
    return render_to_string("unfold/helpers/label.html", {"text": text, "type": colour, "class": "hx-badge"})


def ago(moment: datetime | None) -> str:
    return f"{timesince(moment, depth=1)} ago" if moment else "never"


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def keys_refused(number: int) -> str:
    """What refusing so many working keys means."""
    if number == 0:
        return "No working key is among them, so no client will notice."
    return (
        f"{counted(number, 'working key')} will be refused with 401 on every gateway within two seconds; "
        f"requests that run with {'it' if number == 1 else 'them'} are cancelled, and billed for what they used."
    )


def sentences(error: ValidationError) -> str:
    return " ".join(error.messages)
