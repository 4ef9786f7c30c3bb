"""Parts of borrowed networks are replaced by faster ones, and compute what they did."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from inference.engine.attention.attention import NAME
from inference.engine.network.fusion import fuse
from inference.engine.network.layers import Layer
from inference.engine.network.linear import Joined, Packed, joined
from inference.engine.network.runner import Runner
from tests.engine.networks import CONFIGS, VOCABULARY, Reading, network

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", CONFIGS)
def test_every_layer_of_the_served_architectures_is_replaced(name: str) -> None:
    fused = network(name)
    fuse(fused, CPU)
    assert {type(layer) for layer in fused.get_decoder().layers} == {Layer}
    assert not [module for module in fused.modules() if isinstance(module, nn.Linear)]


def test_layers_that_are_not_known_stay_as_they_are() -> None:
    config = GPTNeoXConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4
    )
    other = GPTNeoXForCausalLM._from_config(config, attn_implementation=NAME)
    kinds = [type(layer) for layer in other.get_decoder().layers]
    fuse(other, CPU)
    assert [type(layer) for layer in other.get_decoder().layers] == kinds


@pytest.mark.parametrize("kind", [Joined, Packed])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_joined_multiplications_are_the_separate_ones(
    kind: type[Joined | Packed], bias: bool, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    parts = [nn.Linear(48, outputs, bias=bias, dtype=dtype) for outputs in (64, 16, 16)]
    module = kind(parts)
    for count in (0, 1, 2, 5, 40):
        rows, onto = torch.randn(count, 48, dtype=dtype), torch.randn(count, 96, dtype=dtype)
        expected = torch.cat([part(rows) for part in parts], dim=-1)
        tolerance = 1e-5 if dtype == torch.float32 else 0.05
        torch.testing.assert_close(module(rows), expected, atol=tolerance, rtol=0)
        torch.testing.assert_close(module(rows, onto), expected + onto, atol=tolerance, rtol=0)


def test_weights_on_a_cpu_are_packed() -> None:
    assert isinstance(joined(nn.Linear(8, 8)), Packed)


def test_weights_are_told_by_the_megabyte() -> None:
    of_llama = network("llama")
    of_llama.resize_token_embeddings(40_000, mean_resizing=False)  # 10 MB each, in and out
    said: list[str] = []
    fuse(of_llama, CPU, progress=said.append)
    assert said == ["reading weights: 20 of 20 MB"]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(
    "together", [[1] * 40, [30, 300], [300]], ids=["token by token", "behind some tokens", "a prompt"]
)
@torch.inference_mode()
def test_bfloat16_is_as_close_to_float32_as_that_of_transformers(name: str, together: list[int]) -> None:
    dice = random.Random(0)
    ids = [dice.randrange(VOCABULARY) for _ in range(sum(together))]
    exact = network(name, "sdpa")(input_ids=torch.tensor([ids])).logits[0]
    theirs = network(name, "sdpa").to(torch.bfloat16)(input_ids=torch.tensor([ids])).logits[0].float()
    rounded = network(name).to(torch.bfloat16)
    fuse(rounded, CPU)
    runner = Runner(rounded, 512, lanes=1)
    reading = Reading(runner, ids)
    ours = torch.cat([runner.run([reading.part(tokens)._replace(wanted=tokens)])[0] for tokens in together])
    assert float((ours - exact).square().mean()) < 2 * float((theirs - exact).square().mean())


@pytest.mark.parametrize("name", CONFIGS)
@torch.inference_mode()
def test_who_decodes_alone_is_rounded_as_beside_others(name: str) -> None:
    rounded = network(name).to(torch.bfloat16)
    fuse(rounded, CPU)
    runner = Runner(rounded, 512, lanes=5)
    dice = random.Random(0)

    def decoded(sequences: int) -> torch.Tensor:
        others = [[dice.randrange(VOCABULARY) for _ in range(12)] for _ in range(sequences - 1)]
        readings = [Reading(runner, ids) for ids in (list(range(12)), *others)]
        for reading in readings:
            runner.run([reading.part(11)])
        logits, _ = runner.run([reading.part(1) for reading in readings])
        for reading in readings:
            reading.forget()
        return logits[0]

    alone = decoded(1)
    assert all(torch.equal(decoded(sequences), alone) for sequences in (2, 3, 5))
