"""Calls that a grammar keeps to their form, and what one is that was cut before it could be told."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

_NAME = re.compile(r'"name":\s*"((?:[^"\\]|\\.)*)(")?')


class Kept(NamedTuple):
    """The names of the tools that may be called. Where it is `required`, an answer is calls and nothing else."""

    names: tuple[str, ...]
    required: bool = False

    def name_of(self, written: str) -> str | None:
        """The name of a call, of which that much stands behind its marker; None where it may still be several."""
        spelled = _spelled_name(written.lstrip())
        candidates = [name for name in self.names if json.dumps(name).startswith(spelled)]
        return candidates[0] if len(candidates) == 1 else None


def _spelled_name(written: str) -> str:
    """As much of a name as there is, as JSON. In the forms that are not JSON it stands in front."""
    if written and written[0] not in "{[":
        return json.dumps(written)[:-1]
    found = _NAME.search(written)
    return f'"{found[1]}{found[2] or ""}' if found else '"'
