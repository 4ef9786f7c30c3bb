"""What came of a death under load: figures for the table in docs/failures.md, and every difference as a sentence."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from tests.proofs import judging
from tests.proofs.asking import Seen
from tests.proofs.running import Proving
from tests.proofs.tenants import IssuedKey

#: Within this of the death, or of asking, a client has its error (MISSION, beyond 2).
ERROR_WITHIN_S = 10.0


@dataclass(frozen=True)
class Outcome:
    """Seconds count from the death; `closed_after_s` from the end of the load.

    `estimated` are settles of the highest count that was published, where no final event came.
    """

    what: str
    requests: int
    whole: int
    left: int
    refused: int
    errors: int
    cut: int
    slowest_error_s: float
    well_after_s: float
    closed_after_s: float
    billed_tokens: int
    estimated: int
    differences: list[str]

    def __str__(self) -> str:
        verdict = f"{len(self.differences)} DIFFERENCES" if self.differences else "no difference"
        return (
            f"{self.what}: {self.requests} requests, {self.whole} whole, {self.errors} errors (slowest "
            f"{self.slowest_error_s:.1f} s), {self.cut} cut, well after {self.well_after_s:.1f} s, "
            f"{self.billed_tokens} tokens billed, {self.estimated} estimated: {verdict}"
        )


def outcome(
    up: Proving,
    what: str,
    seen: Sequence[Seen],
    keys: Sequence[IssuedKey],
    *,
    began: datetime,
    died_s: float,
    well_after_s: float,
    may_fail_from_s: float | None = None,
    dead_gateways: Collection[str] = (),
) -> Outcome:
    """Wait until nothing is open, audit, and hold what clients saw against what is booked since `began`.

    Nothing may fail before the death, or before `may_fail_from_s` where time counts from a later moment.
    """
    ended_s = time.monotonic()
    up.wait_nothing_open()
    closed_after_s = time.monotonic() - ended_s
    booked = up.ledger.booked(began)
    errors = [one for one in seen if one.end == "error" and one.status != 429]
    return Outcome(
        what=what,
        requests=len(seen),
        whole=sum(one.end == "whole" for one in seen),
        left=sum(one.end == "left" for one in seen),
        refused=sum(one.status == 429 for one in seen),
        errors=len(errors),
        cut=sum(one.end == "cut" for one in seen),
        slowest_error_s=round(max((_waited_s(one, died_s) for one in errors), default=0.0), 1),
        well_after_s=round(well_after_s, 1),
        closed_after_s=round(closed_after_s, 1),
        billed_tokens=sum(one.tokens for one in booked.values()),
        estimated=sum(one.state == "estimated" for one in booked.values()),
        differences=[
            *judging.differences(seen, booked, {key.secret: key.key_id for key in keys}),
            *up.audit()["differences"],
            *up.ledger.overshoot(),
            *(sentence for one in seen for sentence in _wrong_ends(one, died_s, dead_gateways)),
            *(_too_early(one) for one in errors if one.ended_s < (may_fail_from_s or died_s)),
        ],
    )


def _waited_s(one: Seen, died_s: float) -> float:
    return one.ended_s - max(one.asked_s, died_s)


def _too_early(one: Seen) -> str:
    return f"Request {one.request_id} failed before anything died: {one.error}."


def _wrong_ends(one: Seen, died_s: float, dead_gateways: Collection[str]) -> Iterator[str]:
    if one.end == "cut" and one.gateway not in dead_gateways:
        yield f"A client of {one.gateway}, which lives, was cut off: {one.note}."
    if one.end == "error" and one.status not in (200, 429, 503):
        yield f"Request {one.request_id} got {one.status}: {one.error}."
    if one.end in ("error", "cut") and one.status != 429 and _waited_s(one, died_s) > ERROR_WITHIN_S:
        yield f"Request {one.request_id} waited {_waited_s(one, died_s):.1f} s for its end: {one.error or one.note}."
