"""The engine on a GPU: what the tests of the CPU show, again on the device, and what only a device can show.

`make proof-gpu` runs them on a GPU host.
"""

from __future__ import annotations

import gc
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.engine import Engine
from inference.engine.attention.attention_probe import Shape, difference, passing
from inference.engine.attention.paged_attention import GatheredAttention, PagedAttention
from inference.engine.attention.triton_attention import TritonAttention
from inference.engine.attention.varlen_attention import VarlenAttention
from inference.engine.device.cuda_recording import CudaRecord
from inference.engine.loading import weights
from inference.engine.memory.blocks import BLOCK_TOKENS
from inference.engine.network.paged_runner import PagedRunner
from inference.engine.sampling.sampler import SamplerRow, sample
from inference.events import Failed, Finished
from inference.policies import AdmissionPolicy
from inference.requests import Sampling
from tests.engine.conftest import Listener, request_for, text_of
from tests.engine.network.test_runner import TOLERANCE, differences, reference, tokens
from tests.engine.networks import CONFIGS, VOCABULARY, WINDOW, Reading, network

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here: `make proof-gpu` on one")

DEVICE = torch.device("cuda", 0)
LENGTHS = [1, 2, 15, 16, 17, WINDOW, WINDOW + 1, 63, 90, 130, 300]


@pytest.fixture(autouse=True)
def exact_matmuls() -> Iterator[None]:
    """float32 means float32: TF32 would differ from the reference by more than the tolerance."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def triton() -> PagedAttention:
    multiprocessors = torch.cuda.get_device_properties(DEVICE).multi_processor_count
    return TritonAttention(programs=2 * multiprocessors, page_tokens=BLOCK_TOKENS)


def on_gpu(
    name: str,
    attention: PagedAttention,
    *,
    dtype: torch.dtype = torch.float32,
    graphs: bool = False,
    tokens: int = 8192,
) -> PagedRunner:
    moved: Any = network(name).to(device=DEVICE, dtype=dtype)
    return PagedRunner(moved, tokens, lanes=16, attention=attention, record=CudaRecord() if graphs else None)


class Here:
    """A runner whose logits are on the CPU, where those of the reference are."""

    def __init__(self, runner: PagedRunner) -> None:
        self.pool, self.key_values, self._runner = runner.pool, runner.key_values, runner

    def run(self, parts: Any) -> Any:
        logits, step = self._runner.run(parts)
        return logits.cpu(), step


def readings_on(runner: PagedRunner, sequences: list[list[int]]) -> list[Reading]:
    here: Any = Here(runner)
    return [Reading(here, ids) for ids in sequences]


# -- attention -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [triton, VarlenAttention])
@pytest.mark.parametrize("width", [64, 96, 128, 256])
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (8, 2), (14, 2), (16, 2)])
def test_kernels_pass_the_probe_in_bfloat16(
    make: Callable[[], PagedAttention], width: int, heads: int, kv_heads: int
) -> None:
    assert passing(make, Shape(heads, kv_heads, width, torch.bfloat16, DEVICE)) is not None


@pytest.mark.parametrize("width", [32, 64, 128])
def test_the_triton_kernel_is_exact_in_float32(width: int) -> None:
    shape = Shape(8, 2, width, torch.float32, DEVICE)
    for kind in ("decode", "chunk"):
        assert difference(triton(), shape, kind, None) < 1e-5


def test_split_keys_of_varlen_are_still_wrong() -> None:
    """The day this fails, varlen may decode as well: `attention_probe.chosen`, `varlen_attention`."""
    from torch.nn.attention.varlen import varlen_attn

    def ints(numbers: list[int]) -> torch.Tensor:
        return torch.tensor(numbers, dtype=torch.int32, device=DEVICE)

    query = torch.randn(2, 4, 64, dtype=torch.bfloat16, device=DEVICE)
    keys, values = torch.randn(2, 8, 256, 4, 64, dtype=torch.bfloat16, device=DEVICE)
    starts, key_starts, lengths = ints([0, 1, 2]), ints([0, 1024, 2048]), ints([1024, 1024])
    tables = ints(list(range(8))).view(2, 4)
    whole, split = (
        varlen_attn(
            query, keys, values, starts, key_starts, 1, 1024, seqused_k=lengths, block_table=tables, num_splits=splits
        )
        for splits in (1, 2)
    )
    assert not torch.allclose(whole, split, atol=1e-2)


# -- logits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("make", [triton, GatheredAttention])
@pytest.mark.parametrize("graphs", [False, True])
def test_logits_are_those_of_transformers(name: str, make: Callable[[], PagedAttention], graphs: bool) -> None:
    sequences = [tokens(length) for length in LENGTHS]
    readings = readings_on(on_gpu(name, make(), graphs=graphs), sequences)
    assert max(differences(readings, reference(name, sequences), chunk=50, dice=random.Random(1))) < TOLERANCE


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("make", [triton, VarlenAttention])
def test_bfloat16_is_as_close_as_transformers_own(name: str, make: Callable[[], PagedAttention]) -> None:
    sequences = [tokens(length) for length in (17, 90, 300)]
    exact = reference(name, sequences)
    plain: Any = network(name, "sdpa").to(device=DEVICE, dtype=torch.bfloat16)
    with torch.inference_mode():
        theirs = [plain(input_ids=torch.tensor([ids], device=DEVICE)).logits[0].float().cpu() for ids in sequences]
    readings = readings_on(on_gpu(name, make(), dtype=torch.bfloat16, graphs=True), sequences)
    ours = differences(readings, exact, chunk=50, dice=random.Random(1))
    assert max(ours) < 2 * max(float((one - other).abs().max()) for one, other in zip(theirs, exact, strict=True))


def test_long_prompts_beside_short_ones() -> None:
    sequences = [tokens(2000), tokens(3), tokens(600)]
    readings = readings_on(on_gpu("qwen3", triton(), graphs=True), sequences)
    assert max(differences(readings, reference("qwen3", sequences), chunk=512, dice=random.Random(4))) < TOLERANCE


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_a_sequence_that_gave_way_is_read_again(name: str) -> None:
    sequences = [tokens(70), tokens(90)]
    readings = readings_on(on_gpu(name, triton(), graphs=True), sequences)
    readings[0].runner.run([reading.part(60) for reading in readings])
    readings[1].forget()
    assert max(differences(readings, reference(name, sequences), chunk=50, dice=random.Random(2))) < TOLERANCE


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_forks_share_a_prompt_and_do_not_write_into_each_other(name: str) -> None:
    [first] = readings_on(on_gpu(name, triton(), graphs=True), [tokens(37) + tokens(30, seed=1)])
    first.runner.run([first.part(37)])
    readings = [first, *(first.fork(tokens(30, seed=seed)) for seed in (2, 3))]
    expected = reference(name, [reading.token_ids for reading in readings])
    assert max(differences(readings, expected, chunk=9, dice=random.Random(3))) < TOLERANCE


# -- graphs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["qwen3", "gemma3", "phi3"])
def test_replayed_decodes_are_the_computed_ones_at_any_size_of_batch(name: str) -> None:
    sequences = [tokens(20 + 30 * index) for index in range(16)]
    runners = [on_gpu(name, triton(), graphs=graphs, tokens=16384) for graphs in (False, True)]
    both = [readings_on(runner, sequences) for runner in runners]
    for readings in both:
        readings[0].runner.run([reading.part(reading.unread_tokens - 6) for reading in readings])
    for count in (1, 2, 3, 5, 8, 16):
        eager, replayed = (readings[0].runner.run([one.part(1) for one in readings[:count]])[0] for readings in both)
        assert float((eager - replayed).abs().max()) < 1e-5
    assert sorted(runners[1]._graphs._recorded) == [1, 2, 4, 8, 16]  # type: ignore[union-attr]


def test_a_recording_that_fails_leaves_the_device_computing(caplog: pytest.LogCaptureFixture) -> None:
    class Asking(GatheredAttention):
        recordable = True  # which is not so: it waits for the device in the middle

        def attend(self, query: Any, *rest: Any, **how: Any) -> Any:
            query.sum().item()
            return super().attend(query, *rest, **how)

    sequences = [tokens(30)]
    readings = readings_on(on_gpu("llama", Asking(), graphs=True), sequences)
    assert max(differences(readings, reference("llama", sequences), chunk=25, dice=random.Random(5))) < TOLERANCE
    assert "not recorded" in caplog.text


def test_a_decode_waits_for_the_device_once() -> None:
    runner = on_gpu("qwen3", triton(), graphs=True)
    readings = [Reading(runner, tokens(length)) for length in (30, 50)]
    runner.run([reading.part(reading.unread_tokens - 3) for reading in readings])
    samplings = [Sampling(temperature=0), Sampling(temperature=0.8, top_p=0.9, top_k=20, seed=1, presence_penalty=0.5)]
    rows = [SamplerRow(sampling, [1, 2], vocabulary=VOCABULARY) for sampling in samplings]
    sample(runner.run([reading.part(1) for reading in readings])[0], rows)  # records, and compiles
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as waits:
            warnings.simplefilter("always")
            sample(runner.run([reading.part(1) for reading in readings])[0], rows)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len([wait for wait in waits if "synchroniz" in str(wait.message)]) == 1


# -- the engine ----------------------------------------------------------------------------------


@pytest.fixture
def gpu(endless: Path, listener: Listener) -> Iterator[Engine]:
    engine = Engine(str(DEVICE), publish=listener, admission=AdmissionPolicy(max_in_flight=4), kv_tokens=8192)
    engine.load("tiny", str(endless))
    yield engine
    engine.close()


def test_requests_are_answered_together(gpu: Engine, listener: Listener) -> None:
    names = [f"r{number}" for number in range(8)]
    for name in names:
        gpu.submit(request_for(name, max_tokens=40, sampling=Sampling(temperature=1.0, top_p=0.95, seed=5)))
    for name in names:
        final = listener.final(name)
        assert isinstance(final, Finished)
        assert final.completion_tokens == 40


def test_the_answer_is_that_of_the_cpu(endless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "DTYPE", torch.float32)
    answers = []
    for device in ("cpu", str(DEVICE)):
        engine = Engine(device, kv_tokens=8192)
        engine.load("tiny", str(endless))
        seeded = Sampling(temperature=1.0, seed=5)
        answers.append([text_of(list(engine.stream(request_for("a", max_tokens=30, sampling=seeded))))])
        engine.close()
    assert answers[0] == answers[1]


def test_the_facts_name_what_computes_attention(gpu: Engine) -> None:
    [model] = gpu.models()
    assert model.facts.attention != "sdpa"


def test_unloading_gives_the_memory_back(endless: Path) -> None:
    gc.collect()
    before = torch.cuda.memory_allocated(DEVICE)
    engine = Engine(str(DEVICE), kv_tokens=65536)
    for _ in range(3):
        engine.load("tiny", str(endless))
        list(engine.stream(request_for("one", max_tokens=20)))
        assert torch.cuda.memory_allocated(DEVICE) > before
        engine.unload("tiny")
    engine.close()
    gc.collect()
    assert torch.cuda.memory_allocated(DEVICE) <= before + (32 << 20)  # cuBLAS keeps a workspace


def test_a_prompt_that_finds_no_memory_is_read_in_parts(
    gpu: Engine, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = gpu._models["tiny"].runner
    run, tried = runner.run, []

    def hungry(parts: Any) -> Any:
        tried.append(sum(len(part.token_ids) for part in parts))
        if tried[-1] > 100:
            torch.empty(1 << 50, dtype=torch.uint8, device=DEVICE)  # a real refusal by the allocator
        return run(parts)

    monkeypatch.setattr(runner, "run", hungry)
    gpu.submit(request_for("long", "the river runs " * 200, max_tokens=20))
    assert isinstance(listener.final("long"), Finished)
    assert max(tried) > 100


def test_a_request_fails_alone_on_a_gpu_too(gpu: Engine, listener: Listener) -> None:
    runner = gpu._models["tiny"].runner
    run = runner.run

    def refuse(parts: Any) -> Any:
        if any(len(part.token_ids) > 100 for part in parts):
            raise RuntimeError("shapes do not match")
        return run(parts)

    runner.run = refuse  # type: ignore[method-assign]
    gpu.submit(request_for("good", max_tokens=30))
    gpu.submit(request_for("bad", "the river runs " * 60, max_tokens=30))
    assert isinstance(listener.final("bad"), Failed)
    assert isinstance(listener.final("good"), Finished)
