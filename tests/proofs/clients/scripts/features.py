"""What a script tells the proof: a line of JSON for each feature that it tried, and what went wrong if it did not work.

Nothing but the standard library: it runs wherever a client is installed.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TOLD = json.loads((Path(__file__).parent / "told.json").read_text())
MODEL, FIRST_WORD, THOUGHT, LAST_WORD, CITIES = (
    TOLD[name] for name in ("model", "first_word", "thought", "last_word", "cities")
)
#: The schema of the one tool that scripts offer.
CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": CITIES}},
    "required": ["city"],
    "additionalProperties": False,
}

_features: dict[str, Callable[[], Any]] = {}


def feature(function: Callable[[], Any]) -> Callable[[], Any]:
    """Try this function, sync or async, under its name. It asserts what the feature promises."""
    _features[function.__name__] = function
    return function


def lookup(city: str) -> str:
    """What the tool answers."""
    return json.dumps({"city": city, "degrees": 10 + CITIES.index(city)})


@contextmanager
def raises(expected: type[Exception]) -> Iterator[list[Any]]:
    """The block has to raise this; the fault is in the list afterwards."""
    raised: list[Any] = []
    try:
        yield raised
    except expected as fault:
        raised.append(fault)
    assert raised, f"no {expected.__name__}"


def run() -> None:
    """Try all features; ONLY_FEATURES in the environment names some of them."""
    only = os.environ.get("ONLY_FEATURES", "").split()
    loop = asyncio.new_event_loop()  # one for all: clients keep connections
    asyncio.set_event_loop(loop)
    for name, function in _features.items():
        if only and name not in only:
            continue
        fault = None
        try:
            outcome = function()
            if inspect.iscoroutine(outcome):
                loop.run_until_complete(outcome)
        except Exception as failure:
            traceback.print_exc()
            fault = f"{type(failure).__name__}: {failure}".splitlines()[0][:300]
        print(json.dumps({"feature": name, "fault": fault}), flush=True)
