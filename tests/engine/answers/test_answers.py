"""Greedy answers are those of transformers' own `generate`, over prompts longer than a step and than a window."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from inference.engine import Engine
from inference.engine.loading import weights
from inference.engine.loading.weights import read_tokenizer
from inference.events import Finished, Started
from tests.engine.conftest import request_for, text_of
from tests.models import Architecture, tiny_model

PROMPTS = {
    "short": "Hello 😀!",
    "longer than the window": "the river " * 40,
    "longer than a step": "漢字 and text " * 90,
}


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3"])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_greedy_text_equals_generate(
    architecture: Architecture, prompt: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In bfloat16 two tokens often tie, and rounding, which differs with the length of a chunk, decides between them.
    monkeypatch.setattr(weights, "DTYPE", torch.float32)
    folder = tiny_model(tmp_path / architecture, architecture, sliding_window=32)
    engine = Engine("cpu")
    facts = engine.load("tiny", str(folder))
    try:
        events = list(engine.stream(request_for("one", PROMPTS[prompt], max_tokens=80)))
    finally:
        engine.close()
    prompt_tokens, expected = generate(folder, PROMPTS[prompt], max_tokens=80)
    tokenizer = read_tokenizer(folder)
    assert events[0] == Started(prompt_tokens)
    assert text_of(events).rstrip("\ufffd") == tokenizer.decode(expected, skip_special_tokens=True).rstrip("\ufffd")
    assert isinstance(events[-1], Finished)
    assert events[-1].completion_tokens == len(expected)
    assert facts.architecture.lower().startswith(architecture)


def generate(folder: Path, content: str, *, max_tokens: int) -> tuple[int, list[int]]:
    tokenizer = read_tokenizer(folder)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, return_dict=False, return_tensors="pt"
    )
    output = network.generate(prompt, do_sample=False, max_new_tokens=max_tokens)
    return prompt.shape[1], output[0, prompt.shape[1] :].tolist()
