"""What a load says to whoever waits for it: progress on the way, and one sentence where it cannot go on."""

from __future__ import annotations

import errno
from collections.abc import Callable

#: Called with a short sentence whenever a load has something new to say, from the thread that loads.
Progress = Callable[[str], None]


def silent(_sentence: str) -> None:
    """The progress of a load that nobody watches."""


class LoadError(Exception):
    """A model could not be loaded; the message is one sentence that says what to do."""


def is_disk_full(fault: BaseException) -> bool:
    """Whether a write failed for want of room, also where a library hides the errno in its text."""
    return (isinstance(fault, OSError) and fault.errno == errno.ENOSPC) or "No space left" in str(fault)


def first_sentence(fault: BaseException) -> str:
    """What a library said, short enough for an error of one sentence."""
    said = str(fault).strip().split("\n")[0].split(". ")[0].rstrip(".")
    if isinstance(fault, KeyError) and said:  # says the key and nothing else
        return f"{said} is not known"
    return said or type(fault).__name__
