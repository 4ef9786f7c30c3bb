"""Requests of every kind that an engine takes or refuses, drawn from one seed."""

from __future__ import annotations

import json
import random
from typing import Any

from inference.grammars import Grammar, JsonObject, JsonSchema, Lark, Regex
from inference.requests import GenerationRequest, Sampling, Tool, ToolUse
from tests.proofs.schemas import closed, schemas

MODEL = "tiny"
#: What the prompts of several requests begin with, of up to 200 tokens.
BEGINNINGS = ["", "the river runs past the old town " * 4, "under three bridges to the sea " * 9, "Paris, Tokyo. " * 12]
_VOCABULARY = 384


class Mixed:
    """`draw` gives the next request; most of them can be served."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._schemas = list(schemas(200, seed=seed))

    def draw(self, number: int) -> GenerationRequest:
        dice = self._dice
        account = dice.choice([None, *(f"account {each}" for each in range(8)), f"only {number}"])
        return GenerationRequest(
            id=str(number),
            model="other" if dice.random() < 0.01 else MODEL,
            n=dice.choice([1, 1, 1, 2, 4]),
            max_tokens=dice.choice([0, 1, 4, 12, 12, 40, 120]),
            sampling=self._sampling(),
            stop=dice.sample(["e", "th", " the", "never said"], dice.choice([0, 0, 1, 3])),
            stop_token_ids=dice.choice([[], [], [7], [1000]]) if dice.random() < 0.2 else [],
            ignore_eos=dice.random() < 0.1,
            grammar=self._grammar(number),
            tool_use=self._tool_use(number),
            prompt_logprobs=dice.choice([0, 3]) if dice.random() < 0.1 else None,
            only_count=dice.random() < 0.05,
            stream=dice.random() < 0.5,
            account=account,
            key=dice.choice([None, "1", "2", f"key {number}"]),
            priority=dice.choice([0, 0, 0, 0, 1, -1]),
            timeout_s=dice.choice([0.0, 0.01, 0.1]) if dice.random() < 0.05 else None,
            **self._prompt(number),
        )

    def _prompt(self, number: int) -> dict[str, Any]:
        dice = self._dice
        if dice.random() < 0.02:
            return {"prompts": ["too long " * 300]}
        if dice.random() < 0.5:
            prompts = [self._whole(number) for _ in range(dice.choice([1, 1, 1, 3]))]
            return {"prompts": prompts, "echo": dice.random() < 0.2}
        fields = {"tools": []} if dice.random() < 0.02 else dice.choice([{}, {"extra": number}])
        return {"messages": [{"role": "user", "content": self._text(number)}], "template_kwargs": fields}

    def _whole(self, number: int) -> str | list[int]:
        dice = self._dice
        if dice.random() < 0.5:
            return self._text(number)
        return [dice.randrange(_VOCABULARY) for _ in range(dice.randint(0, 60))]

    def _text(self, number: int) -> str:
        dice = self._dice
        return f"{dice.choice(BEGINNINGS)}{dice.choice(['', f'Number {number}. '])}What is a river?"

    def _sampling(self) -> Sampling:
        dice = self._dice
        if dice.random() < 0.3:
            return Sampling(temperature=0)
        return Sampling(
            temperature=dice.uniform(0.2, 1.5),
            top_p=dice.choice([1.0, 0.9, 0.5]),
            top_k=dice.choice([0, 0, 5]),
            min_p=dice.choice([0.0, 0.0, 0.1]),
            seed=dice.choice([None, dice.randrange(2**31)]),
            presence_penalty=dice.choice([0.0, 0.5]),
            frequency_penalty=dice.choice([0.0, 0.5]),
            repetition_penalty=dice.choice([1.0, 1.1]),
            logit_bias=dice.choice([{}, {dice.randrange(_VOCABULARY): 2.0}]),
            logprobs=dice.choice([None, None, None, 0, 5]),
        )

    def _tool_use(self, number: int) -> ToolUse | None:
        dice = self._dice
        if dice.random() < 0.9:
            return None
        _, schema = dice.choice(self._schemas)
        own = closed({f"key {number}": {"enum": [number, str(number)]}})
        tools = [Tool(f"tool {number}", parameters=json.dumps(own)), Tool("other", parameters=json.dumps(schema))]
        return ToolUse(tools=tools, choice=dice.choice(["auto", "none", "required"]), parallel=dice.random() < 0.5)

    def _grammar(self, number: int) -> Grammar | None:
        dice = self._dice
        if dice.random() < 0.8:
            return None
        _, schema = dice.choice(self._schemas)
        own = closed({f"key {number}": {"enum": [number, str(number)]}})
        return dice.choice(
            [
                JsonObject(),
                JsonSchema(json.dumps(schema), strict=True),
                JsonSchema(json.dumps(own)),
                JsonSchema('{"type": "no such type"'),
                Regex(f"[a-z]{{1,{number % 20 + 1}}}"),
                Regex("(unfinished"),
                Lark(f'start: "{number}" | "a"+'),
                Lark("start: nothing"),
            ]
        )
