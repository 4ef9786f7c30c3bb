"""`make proof-clients`: the SDKs, frameworks and agents that people use, against a running helexa.

    python -m tests.proofs.clients [--only openai-previous] [--write] [--url URL --key KEY]

Prints what each feature of each client did. Fails if something does not run that ran when docs/clients/ran.md was
written last; `--write` writes it anew.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.proofs.clients import record
from tests.proofs.clients.environments import ENVIRONMENTS
from tests.proofs.clients.serving import Served, serving
from tests.proofs.clients.trials import TRIALS, Outcome, run


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    trials = [trial for trial in TRIALS if not options.only or {trial.environment, trial.name} & set(options.only)]
    if not trials:
        print(f"there is none of {', '.join(options.only)}; there are {', '.join(ENVIRONMENTS)}", file=sys.stderr)
        return 2
    for name in dict.fromkeys(trial.environment for trial in trials):
        ENVIRONMENTS[name].make()
    outcomes = []
    with _served(options) as served:
        for trial in trials:
            outcomes.append(run(trial, served))
            _print(outcomes[-1])
    lost = record.regressions(outcomes)
    if options.write:
        record.write(outcomes)
    print(*lost, sep="\n")
    return 1 if lost else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="proof-clients", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="environments or single scripts, by name")
    parser.add_argument("--write", action="store_true", help="write docs/clients/ran.md")
    parser.add_argument("--url", help="a gateway that runs already and serves the scripted model, without /v1")
    parser.add_argument("--key", help="its key")
    return parser.parse_args(arguments)


@contextmanager
def _served(options: argparse.Namespace) -> Iterator[Served]:
    if options.url:
        yield Served(options.url, options.key)
        return
    with serving() as served:
        yield served


def _print(outcome: Outcome) -> None:
    print(f"{outcome.trial.name} ({', '.join(ENVIRONMENTS[outcome.trial.environment].pins)}, {outcome.trial.api})")
    for feature, fault in outcome.faults.items():
        print(f"  {feature:16} {'ran' if fault is None else f'FAILED  {fault}'}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
