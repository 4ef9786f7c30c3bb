"""A neuron's name is a lease: one process at a time has it, known by its boot id (DESIGN 1, `runworker`)."""

from __future__ import annotations

import time
from typing import Any

import redis
import structlog

from fleet.reports import REPORTS_STREAM, decode_report, lease_key

log = structlog.get_logger(__name__)

#: How long a newcomer listens for the holder of the name before it takes it.
LISTEN_S = 6.0

# Give up the lease, but only our own: somebody else may have taken the name while we were cut off.
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
# Take the lease from exactly the holder that was found silent.
_TAKE_OVER = "if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('set', KEYS[1], ARGV[2]) return 1 end return 0"


class NameTakenError(Exception):
    """Another living process has the name."""


class Lease:
    def __init__(self, client: redis.Redis, *, name: str, boot_id: str) -> None:
        self._redis = client
        self._name = name
        self._key = lease_key(name)
        self._boot_id = boot_id

    def acquire(self) -> None:
        """Take the name. Raises NameTakenError if its holder is heard within six seconds."""
        position = self._newest_report()
        while not self._redis.set(self._key, self._boot_id, nx=True):
            holder: Any = self._redis.get(self._key)
            if holder is None:
                continue
            log.info("name_held", name=self._name, holder=holder.decode(), listening_s=LISTEN_S)
            if self._hears(holder.decode(), position):
                raise NameTakenError(
                    f"a neuron named {self._name} is running already: choose another --name, or stop that one first"
                )
            if self._redis.eval(_TAKE_OVER, 1, self._key, holder, self._boot_id):
                return

    def is_ours(self) -> bool:
        return self._redis.get(self._key) == self._boot_id.encode()

    def release(self) -> None:
        self._redis.eval(_RELEASE, 1, self._key, self._boot_id)

    def _newest_report(self) -> bytes:
        newest: Any = self._redis.xrevrange(REPORTS_STREAM, count=1)
        return newest[0][0] if newest else b"0"

    def _hears(self, boot_id: str, position: bytes) -> bool:
        """Whether a report of that boot comes within the time."""
        until_s = time.monotonic() + LISTEN_S
        while time.monotonic() < until_s:
            streams: Any = self._redis.xread({REPORTS_STREAM: position}, block=500)
            for message_id, fields in (entry for _, entries in streams or [] for entry in entries):
                position = message_id
                if decode_report(fields[b"r"]).boot_id == boot_id:
                    return True
        return False
