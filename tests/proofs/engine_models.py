"""What the proofs of the engine run: a network of the bench's shape with random weights, loaded in one engine."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inference.engine import Engine
from inference.events import FINAL, Event, Text
from inference.requests import GenerationRequest, Sampling
from tests.models import tiny_model

#: DESIGN 5, but for the vocabulary: the tests' tokenizer has few tokens.
SHAPE: dict[str, Any] = {
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "max_position_embeddings": 8192,
    "initializer_range": 0.02,
}


@contextmanager
def loaded_engine(**options: Any) -> Iterator[Engine]:
    """An engine with the model `m`, which never ends an answer by itself."""
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine("cpu", **options)
        try:
            engine.load("m", str(tiny_model(Path(folder) / "m", eos=False, **SHAPE)))
            yield engine
        finally:
            engine.close()


def request(request_id: str, messages: list[dict[str, Any]], **fields: Any) -> GenerationRequest:
    return GenerationRequest(id=request_id, model="m", messages=messages, sampling=Sampling(temperature=0), **fields)


def asked(content: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


def timed(engine: Engine, asking: GenerationRequest) -> tuple[float, list[Event]]:
    """Seconds to the first text, and all events."""
    started, first, events = time.perf_counter(), 0.0, []
    for event in engine.stream(asking):
        events.append(event)
        if not first and isinstance(event, (Text, *FINAL)):
            first = time.perf_counter() - started
    return first, events
