"""What ran when somebody wrote it down last: `ran.json`, and the page of `docs/clients/` that is made of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from helexa.home import REPOSITORY
from tests.proofs.clients.environments import ENVIRONMENTS
from tests.proofs.clients.trials import TRIALS, Outcome, Trial

RECORD = Path(__file__).parent / "ran.json"
PAGE = REPOSITORY / "docs" / "clients" / "ran.md"
#: What nearly every client has; the rest of a script's features stand in the last column by their names.
COLUMNS = ["text", "stream", "asynchronous", "tools", "loop", "structured", "reasoning", "usage", "errors"]
_INTRODUCTION = """\
# What ran

`make proof-clients ARGS=--write` installs each client with these versions in an environment of its own, runs its
script of `tests/proofs/clients/` against a gateway and a neuron with a scripted torch model, and writes this page. A
script is told a base URL and a key. Without `--write` the command fails if something that ran here does not run any
more.

A cell is empty where the client or the API has no such thing, or where the script does not try it. `loop` is a
conversation of three rounds of tools, `structured` an answer that keeps to a schema.
"""


class Ran(NamedTuple):
    """What became of a trial: its packages, and by feature None or what went wrong."""

    packages: list[str]
    faults: dict[str, str | None]


def read() -> dict[str, Ran]:
    """By the trial's name; empty where nothing was written yet."""
    if not RECORD.exists():
        return {}
    return {name: Ran(**told) for name, told in json.loads(RECORD.read_text()).items()}


def write(outcomes: Iterable[Outcome]) -> None:
    """Put these in place of what was known of the same trials."""
    known = read()
    for trial, faults in outcomes:
        known[trial.name] = Ran(ENVIRONMENTS[trial.environment].pins, faults)
    ordered = {trial.name: known[trial.name] for trial in TRIALS if trial.name in known}
    RECORD.write_text(json.dumps({name: ran._asdict() for name, ran in ordered.items()}, indent=2) + "\n")
    PAGE.write_text(page(ordered))


def regressions(outcomes: Iterable[Outcome]) -> list[str]:
    """What ran when it was written down and does not now, in words."""
    known = read()
    return [
        f"{trial.name}: {feature} ran before. Now: {faults.get(feature, 'it was not tried')}"
        for trial, faults in outcomes
        if trial.name in known
        for feature, fault in known[trial.name].faults.items()
        if fault is None and (feature not in faults or faults[feature] is not None)
    ]


def page(known: dict[str, Ran]) -> str:
    """The page in Markdown."""
    head = ["client", "packages", "API", *COLUMNS, "also"]
    rows = [_cells(trial, known[trial.name]) for trial in TRIALS if trial.name in known]
    failed = [
        f"- {trial.client}, {trial.api}, {_packages(known[trial.name])}: `{feature}`. {_plain(fault)}"
        for trial in TRIALS
        if trial.name in known
        for feature, fault in known[trial.name].faults.items()
        if fault is not None
    ]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])
    return "\n".join([_INTRODUCTION, table, "", *(["What did not run:", "", *failed, ""] if failed else [])])


def _cells(trial: Trial, ran: Ran) -> list[str]:
    others = [
        f"{feature}{'' if fault is None else ' **failed**'}"
        for feature, fault in ran.faults.items()
        if feature not in COLUMNS
    ]
    return [trial.client, _packages(ran), trial.api, *(_cell(ran, column) for column in COLUMNS), ", ".join(others)]


def _cell(ran: Ran, feature: str) -> str:
    if feature not in ran.faults:
        return ""
    return "ran" if ran.faults[feature] is None else "**failed**"


def _packages(ran: Ran) -> str:
    return ", ".join(package.replace("==", " ") for package in ran.packages)


def _plain(fault: str) -> str:
    """A fault as one line that Markdown does not take for something else."""
    return f"`{' '.join(fault.replace('`', chr(39)).split())}`"
