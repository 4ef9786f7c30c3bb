"""The SQL of a batch: what is read, in lock order (budgets by id, reservations, roll-ups), and what is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import NoneType
from typing import Any
from uuid import UUID

from accounts.booking.decide import Read, Step, step_of
from accounts.booking.operations import Correct, Extend, Operation, Refund, Release, Reserve, Settle
from accounts.booking.state import BudgetState, EntryState, ReservationState
from accounts.booking.writing import NewEntry, Writes
from accounts.models import Reservation
from accounts.money import Counts, Prices

Statement = tuple[str, list[Any]]

_BUDGET = """id, account_id, key_id, unit, cap, cap_wanted, "window", window_seconds, time_zone, window_number,
    window_ends_at, spent, reserved"""
_RESERVATION = """r.id, r.state, r.account_id, r.key_id, r.model, r.node, r.granted, r.completion_bound,
    r.budget_ids, r.held, r.input_price, r.output_price, r.cached_price, r.reasoning_price"""

_LOCK = f"""
SELECT {_BUDGET} FROM accounts_budget
WHERE id = ANY(%s::bigint[]) OR account_id = ANY(%s::bigint[]) OR key_id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE
"""  # noqa: S608

# Read after the locks are held, in a statement of its own: in the one that locks, the clock would be earlier. Of the
# keys only those come back that may be used now; entry ids are drawn here, so that lines can name their entries.
_CIRCUMSTANCES = """
SELECT clock_timestamp(), (SELECT id FROM accounts_account WHERE is_house), ARRAY(
  SELECT k.id FROM accounts_apikey k JOIN accounts_account a ON a.id = k.account_id
  WHERE k.id = ANY(%s::bigint[]) AND k.revoked_at IS NULL AND a.suspended_at IS NULL AND a.closed_at IS NULL
    AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
), ARRAY(SELECT nextval('accounts_entry_id_seq') FROM generate_series(1, %s::int))
"""

_CLOSE = f"""
UPDATE accounts_reservation r SET state = %s, closed_at = clock_timestamp()
WHERE r.id = ANY(%s::uuid[]) AND r.state = %s RETURNING {_RESERVATION}
"""  # noqa: S608

_RESERVATIONS = f"SELECT {_RESERVATION} FROM accounts_reservation r WHERE r.id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE"  # noqa: S608

# Refunds and corrections of one entry queue up at its row, since they need not share a budget.
_USAGE = "kind = 'usage' AND (id = ANY(%s::bigint[]) OR reservation_id = ANY(%s::uuid[]))"
_ENTRIES = f"""
SELECT id, debit_id, credit_id, key_id, reservation_id, model, node, prompt_tokens, completion_tokens, cached_tokens,
  reasoning_tokens, tokens, nano_usd FROM accounts_entry WHERE {_USAGE} ORDER BY id FOR UPDATE
"""  # noqa: S608
_GIVEN_BACK = f"""
SELECT u.id, sum(least(e.tokens, 0))::bigint, sum(least(e.nano_usd, 0))::bigint
FROM (SELECT id, reservation_id FROM accounts_entry WHERE {_USAGE}) u
  JOIN accounts_entry e ON e.reservation_id = u.reservation_id WHERE e.kind IN ('refund', 'correction') GROUP BY u.id
"""  # noqa: S608
_LINES = f"""
SELECT entry_id, budget_id, window_number, amount FROM accounts_line
WHERE entry_id IN (SELECT id FROM accounts_entry WHERE {_USAGE})
"""  # noqa: S608

_WRITE_BUDGETS = """
UPDATE accounts_budget b SET cap = v.cap, cap_wanted = v.cap_wanted, "window" = v.w, window_seconds = v.seconds,
  time_zone = v.zone, window_number = v.number, window_ends_at = v.ends_at, spent = v.spent, reserved = v.reserved
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::int[], %s::text[], %s::bigint[],
  %s::timestamptz[], %s::bigint[], %s::bigint[])
  AS v(id, cap, cap_wanted, w, seconds, zone, number, ends_at, spent, reserved) WHERE b.id = v.id
"""

# Arrays of arrays must be rectangular, so the two array columns travel as text.
_INSERT_RESERVATIONS = """
INSERT INTO accounts_reservation (id, account_id, key_id, gateway, model, node, granted, completion_bound,
  budget_ids, held, input_price, output_price, cached_price, reasoning_price, state, created_at)
SELECT id, account_id, key_id, gateway, model, node, granted, bound, budget_ids::bigint[], held::bigint[],
  input, output, cached, reasoning, 'open', %s::timestamptz
FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::bigint[],
  %s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
  AS v(id, account_id, key_id, gateway, model, node, granted, bound, budget_ids, held, input, output,
    cached, reasoning)
"""

_REGRANT = """
UPDATE accounts_reservation r SET granted = v.granted, completion_bound = v.bound, held = v.held::bigint[]
FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::text[]) AS v(id, granted, bound, held)
WHERE r.id = v.id AND r.state = 'open'
"""

_INSERT_ENTRIES = """
INSERT INTO accounts_entry (at, id, kind, debit_id, credit_id, key_id, reservation_id, tokens, nano_usd,
  prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, input_price, output_price, cached_price,
  reasoning_price, model, node, estimated, refunds_id, budget_id, reason, author_id, author_name)
SELECT %s::timestamptz, v.* FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::uuid[],
  %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
  %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::boolean[], %s::bigint[], %s::bigint[], %s::text[],
  %s::int[], %s::text[]) AS v
"""

_INSERT_LINES = """
INSERT INTO accounts_line (entry_id, budget_id, window_number, amount)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
"""

_ADD_SPEND = """
INSERT INTO accounts_hourlyspend AS s (hour, account_id, key_id, model, requests, prompt_tokens, completion_tokens,
  tokens, nano_usd)
SELECT %s::timestamptz, v.* FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::bigint[],
  %s::bigint[], %s::bigint[], %s::bigint[]) AS v
ON CONFLICT (account_id, hour, key_id, model) DO UPDATE SET requests = s.requests + excluded.requests,
  prompt_tokens = s.prompt_tokens + excluded.prompt_tokens,
  completion_tokens = s.completion_tokens + excluded.completion_tokens,
  tokens = s.tokens + excluded.tokens, nano_usd = s.nano_usd + excluded.nano_usd
"""

_WARN = """
INSERT INTO accounts_budgetwarning (at, budget_id, window_number, percent, spent, cap)
SELECT %s::timestamptz, v.* FROM unnest(%s::bigint[], %s::bigint[], %s::int[], %s::bigint[], %s::bigint[]) AS v
ON CONFLICT (budget_id, window_number, percent) DO NOTHING
"""

State = Reservation.State


class Reads:
    """The reading half of a batch. `statements` are sent in order; `read` makes sense of their rows.

    `again` says that the batch was sent before and its outcome is not known.
    """

    def __init__(self, operations: Sequence[Operation], *, again: bool = False) -> None:
        self._names: list[str | Step] = []
        self.statements: list[Statement] = []
        self._add("budgets", _LOCK, *_owners(operations))
        keys = {op.key_id for op in operations if isinstance(op, Reserve)}
        self._add("circumstances", _CIRCUMSTANCES, keys, most_entries(operations))
        self._steps = _closing(operations)
        for step, reservation_ids in self._steps.items():
            before, after = step
            self._add(step, _CLOSE, after, sorted(reservation_ids), before)
        looked_up = [op.id for op in operations if isinstance(op, Extend) or (again and isinstance(op, Reserve))]
        if looked_up:
            self._add("reservations", _RESERVATIONS, looked_up)
        refunded = [op.entry_id for op in operations if isinstance(op, Refund)]
        corrected = [op.id for op in operations if isinstance(op, Correct)]
        if refunded or corrected:
            self._add("entries", _ENTRIES, refunded, corrected)
            self._add("given back", _GIVEN_BACK, refunded, corrected)
            self._add("lines", _LINES, refunded, corrected)

    def _add(self, name: str | Step, sql: str, *parameters: Any) -> None:
        self._names.append(name)
        self.statements.append((sql, [p if isinstance(p, str | int) else array(p) for p in parameters]))

    def read(self, results: Iterable[list[tuple[Any, ...]]]) -> Read:
        rows = dict(zip(self._names, results, strict=True))
        ((now, house_id, valid_keys, entry_ids),) = rows["circumstances"]
        return Read(
            now=now,
            house_id=house_id,
            budgets={row[0]: BudgetState(*row) for row in rows["budgets"]},
            valid_keys=frozenset(valid_keys),
            closed={(row[0], step): ReservationState.of(row) for step in self._steps for row in rows[step]},
            reservations={row[0]: ReservationState.of(row) for row in rows.get("reservations", ())},
            entries=_usage(rows.get("entries", []), rows.get("given back", []), rows.get("lines", [])),
            entry_ids=iter(entry_ids),
        )


def most_entries(operations: Sequence[Operation]) -> int:
    """The most entries that a batch can write: a settle or correction may add an overrun."""
    return sum(
        2 if isinstance(op, Settle | Correct) else 1
        for op in operations
        if not isinstance(op, Reserve | Extend | Release)
    )


def _owners(operations: Sequence[Operation]) -> tuple[set[int], set[int], set[int]]:
    """Whose budgets are locked: by their own ids, by account, by key."""
    budget_ids: set[int] = set()
    accounts: set[int] = set()
    keys: set[int] = set()
    for op in operations:
        if isinstance(op, Reserve):
            accounts.add(op.account_id)
            keys.add(op.key_id)
        else:
            budget_ids.update(op.budget_ids)
            if isinstance(op, Release) and op.account_id is not None and op.key_id is not None:
                accounts.add(op.account_id)
                keys.add(op.key_id)
    return budget_ids, accounts, keys


def _closing(operations: Sequence[Operation]) -> dict[Step, list[Any]]:
    """The reservations to be closed, by the step they take."""
    closing: dict[Step, list[Any]] = {}
    for op in operations:
        if isinstance(op, Settle | Release | Correct):
            closing.setdefault(step_of(op), []).append(op.id)
    return closing


def _usage(
    entries: list[tuple[Any, ...]], given_back: list[tuple[Any, ...]], lines: list[tuple[Any, ...]]
) -> dict[int, EntryState]:
    back = {entry_id: (tokens, nano_usd) for entry_id, tokens, nano_usd in given_back}  # negative
    found = {}
    for row in entries:
        entry_id, tokens, nano_usd = row[0], *row[-2:]
        tokens_back, nano_usd_back = back.get(entry_id, (0, 0))
        left = (tokens + tokens_back, nano_usd + nano_usd_back)
        of_entry = [line for of, *line in lines if of == entry_id]
        found[entry_id] = EntryState(*row[:7], Counts(*row[7:11]), *left, of_entry)  # type: ignore[call-arg]  # as many as fields
    return found


# -- writing -------------------------------------------------------------------------------------


def writes(read: Read, decided: Writes) -> list[Statement]:
    """The writing half of a batch, in lock order."""
    now, budgets = read.now, list(read.budgets.values())
    statements: list[Statement] = []
    if budgets:
        statements.append((_WRITE_BUDGETS, _columns([_budget_row(budget) for budget in budgets])))
    if decided.reservations:
        rows = [
            (r.id, r.account_id, r.key_id, r.gateway, r.model, r.node, r.granted, r.completion_bound,
             r.budget_ids, r.held, *_prices(r.prices))
            for r in decided.reservations
        ]  # fmt: skip
        statements.append((_INSERT_RESERVATIONS, [now, *_columns(rows)]))
    if decided.regranted:
        regranted = [read.reservations[id_] for id_ in sorted(decided.regranted)]
        statements.append((_REGRANT, _columns([(r.id, r.granted, r.completion_bound, r.held) for r in regranted])))
    if decided.entries:
        statements.append((_INSERT_ENTRIES, [now, *_columns([_entry_row(entry) for entry in decided.entries])]))
    lines = [(entry.id, *line) for entry in decided.entries for line in entry.lines]
    if lines:
        statements.append((_INSERT_LINES, _columns(lines)))
    hourly = decided.hourly()
    if hourly:
        sums = [
            (*key, s.requests, s.prompt_tokens, s.completion_tokens, s.tokens, s.nano_usd) for key, s in hourly.items()
        ]
        statements.append((_ADD_SPEND, [now.replace(minute=0, second=0, microsecond=0), *_columns(sums)]))
    warnings = [(b.id, b.window_number, *passed) for b in budgets for passed in b.passed]
    if warnings:
        statements.append((_WARN, [now, *_columns(warnings)]))
    return statements


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[str]:
    """Rows turned into one array per column, as unnest takes them."""
    return [array(column) for column in zip(*rows, strict=True)]


def array(values: Iterable[Any]) -> str:
    """A PostgreSQL array in its text form, as a bound parameter.

    psycopg would choose its type by the largest number in it, so that each statement is prepared and planned several
    times over, and looks at every element twice: a third of the time of a batch.
    """
    values = list(values)
    if _NUMBERS.issuperset(map(type, values)):  # Python writes a list of these as PostgreSQL reads it
        return "{" + str(values)[1:-1].replace("None", "NULL") + "}"
    return "{" + ",".join([_ELEMENTS.get(type(value), _quoted)(value) for value in values]) + "}"


def _quoted(text: object) -> str:
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


_NUMBERS = {int, bool, NoneType}
_ELEMENTS: dict[type, Callable[[Any], str]] = {
    int: str,
    bool: str,
    UUID: str,
    NoneType: lambda _: "NULL",
    list: lambda values: _quoted(array(values)),  # unnest would flatten an array of arrays: it stays text
}


def _prices(prices: Prices | None) -> tuple[int | None, ...]:
    if prices is None:
        return (None, None, None, None)
    return (prices.input, prices.output, prices.cached, prices.reasoning)


def _budget_row(b: BudgetState) -> tuple[Any, ...]:
    return (b.id, b.cap, b.cap_wanted, b.window, b.window_seconds, b.time_zone, b.window_number, b.window_ends_at,
            b.spent, b.reserved)  # fmt: skip


def _entry_row(e: NewEntry) -> tuple[Any, ...]:
    counts = e.counts
    return (e.id, e.kind, e.debit_id, e.credit_id, e.key_id, e.reservation_id, e.tokens, e.nano_usd,
            counts.prompt_tokens, counts.completion_tokens, counts.cached_tokens, counts.reasoning_tokens,
            *_prices(e.prices), e.model, e.node, e.estimated, e.refunds_id, e.budget_id, e.reason, e.author_id,
            e.author_name)  # fmt: skip
