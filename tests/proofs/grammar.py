"""Answers keep to their schemas whatever these are, and hostile grammars cost nobody else anything.

    python -m tests.proofs.grammar [--seed 0] [--schemas 200]

Everything goes through `Engine.stream` of a tiny model of random weights, eight answers at a time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jsonschema import Draft202012Validator, FormatChecker
from llguidance import LLMatcher, LLTokenizer

from inference.engine import Engine
from inference.engine.grammars.grammar_definitions import definition
from inference.events import Event, Failed, Finished, Text
from inference.grammars import JsonSchema
from inference.policies import AdmissionPolicy
from inference.requests import GenerationRequest, Sampling
from tests.models import tiny_model, tiny_tokenizer
from tests.proofs.hostile import hostile
from tests.proofs.schemas import schemas

AT_A_TIME = 8
MOST_TOKENS = 400
#: Of the same schemas once more, so that most answers are cut.
CUT_TOKENS = 12
ENDS_AT_LEAST = 0.95
HOSTILE_LIMIT_S = 2.0

TOKENIZER = tiny_tokenizer()
_FULL = TOKENIZER.backend_tokenizer.to_str()
END = TOKENIZER.convert_tokens_to_ids("<|im_end|>")
#: Closing tokens are likelier, as in a model that means to come to an end.
CLOSING = {**{TOKENIZER.convert_tokens_to_ids(text): 14.0 for text in '"]}'}, END: 14.0}


#: Not dates: a regular expression knows no leap years, and takes 29 February of any year.
FORMATS = FormatChecker(["email", "ipv4", "uuid"])


class Answer(NamedTuple):
    text: str
    end: Finished | Failed
    seconds: float


def ask(engine: Engine, request_id: str, *, seed: int, max_tokens: int = MOST_TOKENS, **fields: Any) -> Answer:
    request = GenerationRequest(
        id=request_id,
        model="tiny",
        messages=[{"role": "user", "content": f"Write something, number {seed}."}],
        sampling=Sampling(seed=seed, logit_bias=CLOSING),
        account=request_id,
        max_tokens=max_tokens,
        **fields,
    )
    began_s = time.monotonic()
    events = list(engine.stream(request))
    return answer_of(events, time.monotonic() - began_s)


def answer_of(events: Sequence[Event], seconds: float) -> Answer:
    end = events[-1]
    assert isinstance(end, Finished | Failed)
    return Answer("".join(event.text for event in events if isinstance(event, Text)), end, seconds)


def fault_in(schema: Any, answer: Answer) -> str | None:
    """What is wrong with an answer, None where nothing is."""
    if isinstance(answer.end, Failed):
        return f"failed: {answer.end.message}"
    if answer.end.reason == "length":
        return None if is_prefix(schema, answer.text) else "no prefix of anything valid"
    try:
        value = json.loads(answer.text)
    except ValueError as fault:
        return f"no JSON: {fault}"
    errors = Draft202012Validator(schema, format_checker=FORMATS).iter_errors(value)
    return next((error.message for error in errors), None)


def is_prefix(schema: Any, text: str) -> bool:
    """By a matcher of its own, over tokens of the text's own: not those that were sampled."""
    tokens = LLTokenizer(_FULL, n_vocab=len(TOKENIZER), eos_token=END)
    matcher = LLMatcher(tokens, definition(JsonSchema(json.dumps(schema), strict=True)), log_level=0)
    ids = tokens.tokenize_bytes(text.encode())
    return int(matcher.try_consume_tokens(ids)) == len(ids)


def prove_schemas(engine: Engine, *, count: int, seed: int, max_tokens: int = MOST_TOKENS) -> tuple[list[str], float]:
    """Ask for an answer to each schema. Returns what was wrong and the share that came to an end, and prints both."""
    wanted = list(schemas(count, seed=seed))

    def answer_to(number: int) -> Answer:
        grammar = JsonSchema(json.dumps(wanted[number][1]), strict=True)
        return ask(engine, f"schema {number}", grammar=grammar, seed=seed + number, max_tokens=max_tokens)

    with ThreadPoolExecutor(AT_A_TIME) as clients:
        answers = list(clients.map(answer_to, range(count)))
    ends: Counter[str] = Counter()
    faults = []
    for (kind, schema), answer in zip(wanted, answers, strict=True):
        ends["failed" if isinstance(answer.end, Failed) else answer.end.reason] += 1
        if fault := fault_in(schema, answer):
            faults.append(f"{kind}: {fault}: {json.dumps(schema)[:200]} -> {answer.text[:200]!r}")
    print(f"{count} schemas, {max_tokens} tokens at most: {dict(ends)}, {len(faults)} faults")
    return faults, ends["stop"] / count


class Neighbour:
    """A request without a grammar that decodes all the time; the seconds between its tokens."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._gaps_s: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def decoding(self) -> Iterator[list[float]]:
        """Yields the list of gaps, which grows."""
        self._thread.start()
        try:
            yield self._gaps_s
        finally:
            self._ended.set()
            self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._ended.is_set():
            number += 1
            sampling = Sampling(seed=number, logit_bias={END: -100.0})
            messages = [{"role": "user", "content": "Go on."}]
            request = GenerationRequest(
                id=f"neighbour {number}", model="tiny", messages=messages, sampling=sampling, max_tokens=1500
            )
            last_s: float | None = None
            for event in self._engine.stream(request):
                if self._ended.is_set():
                    break
                if isinstance(event, Text):
                    now_s = time.monotonic()
                    if last_s is not None:
                        self._gaps_s.append(now_s - last_s)
                    last_s = now_s


def prove_hostile(engine: Engine, *, seed: int) -> list[str]:
    """Send each hostile grammar while a neighbour decodes, and before that as many requests without any."""
    cases, faults = list(hostile()), []
    with Neighbour(engine).decoding() as gaps:
        plain = beside(gaps, lambda: [ask(engine, f"plain {n}", seed=n, max_tokens=100) for n in range(50)])
        answers: list[Answer] = []
        costly = beside(gaps, lambda: answers.extend(_hostile_answers(engine, cases, seed=seed)))
    for (name, _), answer in zip(cases, answers, strict=True):
        if answer.seconds > HOSTILE_LIMIT_S:
            faults.append(f"{name}: took {answer.seconds:.2f} s")
        if isinstance(answer.end, Failed) and answer.end.code != "invalid_value":
            faults.append(f"{name}: {answer.end}")
    slowest = max(answers, key=lambda answer: answer.seconds)
    name = cases[answers.index(slowest)][0]
    ends = Counter(kind_of(answer) for answer in answers)
    print(f"{len(cases)} hostile grammars: {dict(ends)}, the slowest {slowest.seconds:.2f} s ({name})")
    print(f"a neighbour's steps beside requests without a grammar: {in_words(plain)}")
    print(f"a neighbour's steps beside the hostile ones:           {in_words(costly)}")
    return faults


def _hostile_answers(engine: Engine, cases: Sequence[tuple[str, dict[str, Any]]], *, seed: int) -> Iterator[Answer]:
    for number, (_, fields) in enumerate(cases):
        yield ask(engine, f"hostile {number}", seed=seed + number, max_tokens=100, **fields)


def beside(gaps: list[float], work: Callable[[], object]) -> list[float]:
    """The gaps of a neighbour that is decoding already, from now to the end of the work."""
    while not gaps:
        time.sleep(0.01)
    first = len(gaps)
    work()
    return gaps[first:]


def kind_of(answer: Answer) -> str:
    if isinstance(answer.end, Finished):
        return answer.end.reason
    return "failed in its course" if answer.end.prompt_tokens else "refused"


def in_words(gaps_s: Sequence[float]) -> str:
    ordered = sorted(gaps_s)
    return (
        f"{len(gaps_s)}, median {statistics.median(gaps_s) * 1e3:.2f} ms, "
        f"99th percentile {ordered[len(ordered) * 99 // 100] * 1e3:.1f} ms, worst {ordered[-1] * 1e3:.1f} ms"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--schemas", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sys.setswitchinterval(0.0005)  # as a neuron has it
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine("cpu", admission=AdmissionPolicy(max_in_flight=AT_A_TIME))
        engine.load("tiny", str(tiny_model(Path(folder) / "tiny")))
        faults, ended = prove_schemas(engine, count=options.schemas, seed=options.seed)
        if ended < ENDS_AT_LEAST:
            faults.append(f"only {ended:.0%} came to an end")
        faults += prove_schemas(engine, count=options.schemas, seed=options.seed, max_tokens=CUT_TOKENS)[0]
        faults += prove_hostile(engine, seed=options.seed)
        engine.close()
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
