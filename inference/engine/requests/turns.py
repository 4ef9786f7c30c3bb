"""Work that takes long, off the thread that asked for it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

logger = logging.getLogger(__name__)

#: Work waits for threads of its own more than it uses them, so these are cheap.
_THREADS = 16


class Turns:
    """Runs work on threads of its own, one piece at a time for each account, in the order it came.

    So one account's work, however much it is, takes one thread and delays nobody else's.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, name)
        self._closed = False
        self._lock = threading.Lock()
        self._waiting: dict[str | None, deque[Callable[[], None]]] = {}  # an account is in it while its work runs

    def add(self, account: str | None, work: Callable[[], None]) -> None:
        """Run `work`, which raises nothing, when the account's turn comes. Raises RuntimeError once closed."""
        with self._lock:
            if self._closed:
                raise RuntimeError("it is closed")
            waiting = self._waiting.setdefault(account, deque())
            waiting.append(work)
            if len(waiting) > 1:
                return
        self._pool.submit(self._run, account)

    def close(self) -> None:
        """Begin nothing more. What runs goes on to its end."""
        with self._lock:
            self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, account: str | None) -> None:
        work = self._waiting[account][0]
        try:
            work()
        except BaseException:  # a library in Rust panics with what is no Exception
            logger.exception("work of an account raised")
        with self._lock:
            waiting = self._waiting[account]
            waiting.popleft()
            if not waiting:
                del self._waiting[account]
                return
        self._pool.submit(self._run, account)
