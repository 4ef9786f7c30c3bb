"""Our engine beside transformers in float32, architecture by architecture, along the reference's own tokens.

python -m tests.proofs.logits [--rounds 20] [--seed 1] [--longest 2000]

Each round reads a batch of 1 to 16 sequences of mixed lengths in random steps: chunks and single tokens together, some
sequences on blocks that another one read, some that lose their memory and read again. Exits 1 where a logit differs by
1e-4 or more, where another token is the likeliest although the reference's lead is over 1e-3, or where the lead is
smaller at more than 2 % of the positions.
"""

from __future__ import annotations

import argparse
import random
import sys
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from transformers import PreTrainedModel

from inference.engine.memory.blocks import BLOCK_TOKENS
from tests.engine.networks import CONFIGS, ORIGINAL_LENGTH, VOCABULARY, WINDOW, Reading, network, runner

TOLERANCE = 1e-4
LEAD = 1e-3
MOST_EXCUSED = 0.02
#: On both sides of windows, of the original length of positions, and of blocks.
EDGES = [1, 2, 15, 16, 17, WINDOW - 1, WINDOW, WINDOW + 1, ORIGINAL_LENGTH - 1, ORIGINAL_LENGTH, ORIGINAL_LENGTH + 1]
WRITTEN_TOKENS = 24


@dataclass
class Comparison:
    """What was seen of one architecture."""

    positions: int = 0
    largest_difference: float = 0.0
    other_token: int = 0
    excused: int = 0
    shared: int = 0
    forgotten: int = 0

    @property
    def holds(self) -> bool:
        return (
            self.largest_difference < TOLERANCE
            and not self.other_token
            and self.excused <= MOST_EXCUSED * max(self.positions, 1)
        )

    def add(self, ours: torch.Tensor, theirs: torch.Tensor) -> None:
        """Rows of logits, (positions, vocabulary) each."""
        best = theirs.topk(2).values
        clear = (best[:, 0] - best[:, 1]) > LEAD
        self.positions += len(ours)
        self.largest_difference = max(self.largest_difference, float((ours - theirs).abs().max()))
        self.other_token += int(((ours.argmax(-1) != theirs.argmax(-1)) & clear).sum())
        self.excused += int((~clear).sum())


@torch.inference_mode()
def written_by(reference: PreTrainedModel, prompt: list[int]) -> tuple[list[int], torch.Tensor]:
    """The prompt with the tokens that transformers writes after it, and its logits after each of them."""
    ids = list(prompt)
    generated = reference.generate(  # type: ignore[operator]
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=WRITTEN_TOKENS, do_sample=False
    )
    return generated[0].tolist(), reference(input_ids=generated).logits[0]


def compare(name: str, *, dice: random.Random, longest: int, into: Comparison) -> None:
    """One round of one architecture."""
    reference = network(name, "sdpa")
    prompts = prompts_of(dice, longest)
    whole = [written_by(reference, prompt) for prompt in prompts]
    blocks = sum(len(ids) // BLOCK_TOKENS + 2 for ids, _ in whole)
    of_name = runner(name, tokens=blocks * BLOCK_TOKENS, lanes=dice.choice([1, 4, 16]))
    readings = [Reading(of_name, ids) for ids, _ in whole]
    while unread := [index for index, reading in enumerate(readings) if reading.unread_tokens]:
        if dice.random() < 0.05:
            index = dice.choice(unread)
            readings[index].forget()
            into.forgotten += 1
            into.shared += begin_on_another(readings[index], len(prompts[index]), readings)
            continue
        chosen = dice.sample(unread, dice.randint(1, len(unread)))
        parts = [readings[index].part(tokens_of_step(dice, readings[index], len(prompts[index]))) for index in chosen]
        logits, _ = of_name.run(parts)
        into.add(logits, torch.stack([whole[index][1][readings[index].read_tokens - 1] for index in chosen]))


def prompts_of(dice: random.Random, longest: int) -> list[list[int]]:
    """A batch of 1 to 16; some begin like one before them."""
    prompts: list[list[int]] = []
    for _ in range(dice.randint(1, 16)):
        length = dice.choice(EDGES) if dice.random() < 0.5 else round(longest ** dice.random())
        known = dice.choice(prompts) if prompts and dice.random() < 0.6 else []
        known = known[: dice.randint(min(len(known), length) // 2, min(len(known), length))]
        prompts.append(known + [dice.randrange(VOCABULARY) for _ in range(length - len(known))])
    return prompts


def tokens_of_step(dice: random.Random, reading: Reading, prompt: int) -> int:
    """A chunk of the prompt, or one token of the answer."""
    return min(max(1, prompt - reading.read_tokens), dice.choice([1, 7, 16, 64, 512]))


def begin_on_another(reading: Reading, prompt: int, others: list[Reading]) -> bool:
    """Take what another sequence has read of the same beginning, as a hit of the prefix cache does."""
    for other in others:
        read = other.token_ids[: other.read_tokens]
        same = [mine == theirs for mine, theirs in zip(reading.token_ids, read, strict=False)]
        tokens = min(prompt - 1, same.index(False) if False in same else len(same))
        if other is not reading and tokens > 0 and reading.extended == other.extended:
            reading.table, reading.read_tokens = other.table.fork(tokens), tokens
            return True
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="batches of each architecture (default 20)")
    parser.add_argument("--seed", type=int, default=1, help="what batches and steps are drawn from (default 1)")
    parser.add_argument("--longest", type=int, default=2000, help="tokens of the longest prompts (default 2000)")
    options = parser.parse_args()
    torch.set_num_threads(1)  # for networks this small a second one only waits
    console = Console()
    console = console if console.is_terminal else Console(width=140)
    table = Table("architecture", "positions", "largest difference", "other token", "excused", "shared", "read again")
    comparisons = {name: Comparison() for name in CONFIGS}
    for name, into in track(comparisons.items(), "Comparing", console=Console(stderr=True)):
        dice = random.Random(f"{options.seed} {name}")
        for _ in range(options.rounds):
            compare(name, dice=dice, longest=options.longest, into=into)
        table.add_row(
            name,
            f"{into.positions:,}",
            f"{into.largest_difference:.1e}",
            str(into.other_token),
            f"{into.excused / into.positions:.2%}",
            str(into.shared),
            str(into.forgotten),
        )
    console.print(table)
    return 0 if all(into.holds for into in comparisons.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
