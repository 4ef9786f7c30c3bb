"""A model that this engine would compute wrongly is refused at load, with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3TextConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen3NextConfig,
)

from inference.engine import Engine, LoadError
from inference.engine.loading.readiness import ready_runner, reason_against
from inference.engine.memory.key_values import KeyValues
from tests.engine.networks import CONFIGS
from tests.models import tiny_model, tiny_tokenizer

_DEFAULT = {"rope_type": "default", "rope_theta": 10000.0}
_LONG = {
    **_DEFAULT,
    "rope_type": "longrope",
    "long_factor": [2.0] * 8,
    "short_factor": [1.0] * 8,
    "original_max_position_embeddings": 4096,
}
_SMALL: dict[str, Any] = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "tie_word_embeddings": False}


def saved(network: PreTrainedModel, folder: Path) -> Path:
    network.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(LoadError) as refused:
        ready_runner(folder, torch.device("cpu"), kv_tokens=256, places=2)
    return str(refused.value)


@pytest.mark.parametrize("name", CONFIGS)
def test_nothing_speaks_against_the_served_architectures(name: str) -> None:
    assert reason_against(CONFIGS[name][1]) is None


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            Gemma3TextConfig(
                num_hidden_layers=2,
                layer_types=["sliding_attention", "full_attention"],
                rope_parameters={"sliding_attention": _DEFAULT, "full_attention": _LONG},
            ),
            "positions of type longrope are not supported",
        ),
        (Qwen3NextConfig(), "its layers of type linear_attention are not supported"),
    ],
    ids=["longrope of some layers", "hybrid"],
)
def test_what_depends_on_the_rest_of_the_batch_or_keeps_a_state_is_named(config: PretrainedConfig, reason: str) -> None:
    assert reason_against(config) == reason


def test_capped_attention_scores_are_refused(tmp_path: Path) -> None:
    config = Gemma2Config(**_SMALL, num_attention_heads=4, num_key_value_heads=2, head_dim=8, intermediate_size=32)
    folder = saved(Gemma2ForCausalLM(config), tmp_path / "capped")
    assert refusal(folder) == "capped cannot be served: it caps its attention scores."


def test_a_network_that_does_not_call_our_attention_is_refused(tmp_path: Path) -> None:
    folder = saved(BloomForCausalLM(BloomConfig(**_SMALL, n_head=4)), tmp_path / "bloom")
    assert refusal(folder) == "bloom cannot be served: its layers have an attention of their own."


def test_memory_for_less_than_a_block_is_refused(tmp_path: Path) -> None:
    engine = Engine("cpu", kv_tokens=0)
    with pytest.raises(LoadError, match="No memory of cpu is left for the context of tiny"):
        engine.load("tiny", str(tiny_model(tmp_path / "tiny")))
    engine.close()


def test_memory_that_is_not_said_is_what_the_places_can_use_at_most(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "tiny", max_position_embeddings=512)
    runner = ready_runner(folder, torch.device("cpu"), kv_tokens=None, places=3).runner
    assert runner.pool.tokens == 3 * 512
    runner.pool.check([])


def test_memory_on_a_cpu_is_taken_when_it_is_written() -> None:
    before = psutil.Process().memory_info().rss
    held = KeyValues(CONFIGS["llama"][1], 2**20, dtype=torch.float32, device=torch.device("cpu"))
    assert held.keys.nbytes + held.values.nbytes > 700e6
    assert psutil.Process().memory_info().rss - before < 100e6
