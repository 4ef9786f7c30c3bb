"""Who a request is for: the key check, with what was learnt kept in memory and re-read every second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping

import structlog
from psycopg import AsyncConnection, OperationalError
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from accounts.keys import digest
from accounts.principals import Principal, find_principals, touch_keys
from inference.refusals import Refusal, unavailable

log = structlog.get_logger(__name__)

#: Keys remembered per gateway; the least recently learnt goes first.
MOST_REMEMBERED = 50_000
#: Unknown keys that are looked up together.
MOST_PER_LOOKUP = 1000
#: A look at the database for an unknown key, waiting for a connection included.
LOOKUP_LIMIT_S = 2.0
#: `last_used_at` is for people: written this often at most.
TOUCH_PERIOD_S = 15.0


def database_away() -> Refusal:
    return unavailable("PostgreSQL does not answer, so keys cannot be checked.", retry_after_s=5)


def no_key() -> Refusal:
    return Refusal(
        "No API key was given: send it as `Authorization: Bearer KEY` or `x-api-key: KEY`.", code="invalid_api_key"
    )


def wrong_key() -> Refusal:
    """In OpenAI's first words, without which LiteLLM takes a 401 for a request that is wrong."""
    return Refusal("Incorrect API key provided: it is unknown, revoked, expired or suspended.", code="invalid_api_key")


class Principals:
    """Remembers whose key is whose. `refresh` is called every second by the database watch.

    While the database is away nothing is known, and everyone with a key gets a 503: never a 401, never a free pass.
    """

    def __init__(
        self, database_url: str, peppers: Mapping[int, bytes], *, on_invalid: Callable[[list[int]], None]
    ) -> None:
        self._peppers = list(peppers.values())
        self._known: dict[bytes, Principal] = {}  # by digest
        self._digest_of: dict[bytes, bytes] = {}  # by secret, so that a known key costs no digest
        self._asked: dict[bytes, asyncio.Future[Principal | None]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._last_used_s: dict[int, float] = {}
        self._touch_due_s = 0.0
        self._on_invalid = on_invalid
        self._pool = AsyncConnectionPool(
            database_url,
            min_size=0,
            max_size=2,
            timeout=LOOKUP_LIMIT_S,
            open=False,
            kwargs={
                "autocommit": True,
                "connect_timeout": 2,
                "options": f"-c statement_timeout={int(LOOKUP_LIMIT_S * 1000)}",
            },
            check=AsyncConnectionPool.check_connection,
        )
        self.available = False

    async def start(self) -> None:
        await self._pool.open()

    async def stop(self) -> None:
        await self._pool.close(timeout=1)

    async def identify(self, secret: bytes) -> Principal:
        """The principal of a secret, valid now. Raises Refusal: 401, or 503 while the database is away."""
        if not self.available:
            raise database_away()
        principal = self._known.get(self._digest_of.get(secret, b"")) or await self._look_up(secret)
        if principal is None or not principal.valid:
            raise wrong_key()
        self._last_used_s[principal.key_pk] = time.time()
        return principal

    async def _look_up(self, secret: bytes) -> Principal | None:
        """Ask the database. Keys that become unknown while it answers are asked for together, each of them once."""
        asked = self._asked.get(secret)
        if asked is None:
            asked = self._asked[secret] = asyncio.get_running_loop().create_future()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="key-lookup")
        return await asyncio.shield(asked)

    async def _look(self) -> None:
        while self._asked:
            batch = dict(list(self._asked.items())[:MOST_PER_LOOKUP])
            try:
                found = await self._fetch(batch)
            except Refusal as refusal:
                outcomes: dict[bytes, Principal | Refusal | None] = dict.fromkeys(batch, refusal)
            else:
                outcomes = {secret: found.get(secret) for secret in batch}
            for secret, outcome in outcomes.items():
                asked = self._asked.pop(secret)
                if isinstance(outcome, Refusal):
                    asked.set_exception(outcome)
                    asked.exception()  # seen: whoever asked may have left
                else:
                    asked.set_result(outcome)
        self._looking = None

    async def _fetch(self, secrets: Collection[bytes]) -> dict[bytes, Principal]:
        """The principals of these secrets, remembered."""
        digests = {digest(secret, pepper): secret for secret in secrets for pepper in self._peppers}
        try:
            async with asyncio.timeout(LOOKUP_LIMIT_S), self._pool.connection() as connection:
                found = await find_principals(connection, digests)
        except (OperationalError, PoolTimeout, TimeoutError) as fault:
            log.warning("key_lookup_failed", keys=len(secrets), reason=str(fault))
            raise database_away() from fault
        for key_digest, principal in found.items():
            self._remember(digests[key_digest], key_digest, principal)
        return {digests[key_digest]: principal for key_digest, principal in found.items()}

    def _remember(self, secret: bytes, key_digest: bytes, principal: Principal) -> None:
        while len(self._digest_of) >= MOST_REMEMBERED:
            self._known.pop(self._digest_of.pop(next(iter(self._digest_of))), None)
        self._digest_of[secret] = key_digest
        self._known[key_digest] = principal

    async def refresh(self, connection: AsyncConnection[object]) -> None:
        """Re-read the state of every remembered key, and write down when keys were used.

        Keys that are no longer valid are reported to `on_invalid`, so that what they run is cancelled.
        """
        asked = dict(self._known)  # keys learnt while the database answers are new enough as they are
        newest = await find_principals(connection, asked)
        gone = []
        for key_digest, principal in asked.items():
            current = newest.get(key_digest)
            if current is None:
                self._known.pop(key_digest, None)
            elif key_digest in self._known:  # and not forgotten meanwhile
                self._known[key_digest] = current
            if current is None or not current.valid:
                gone.append(principal.key_pk)
        if gone:
            self._on_invalid(gone)
        await self._touch(connection)

    async def _touch(self, connection: AsyncConnection[object]) -> None:
        now_s = time.monotonic()
        if self._last_used_s and now_s >= self._touch_due_s:
            self._touch_due_s = now_s + TOUCH_PERIOD_S
            used, self._last_used_s = self._last_used_s, {}
            await touch_keys(connection, used)
