"""The one thread that owns a device (MISSION N4)."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import torch

from inference.engine.device import openmp

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


#: An idle thread keeps its workers for so long, since starting them for each token would slow down one that waits for
#: something else in every step.
_IDLE_S = 0.05


class OwnerClosedError(Exception):
    """The owner thread has ended and takes no more calls."""


#: How torch says it where it does not raise OutOfMemoryError: the driver, cuBLAS, the allocator of the CPU.
_OUT_OF_MEMORY = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "can't allocate memory")


def is_out_of_memory(fault: BaseException) -> bool:
    """Whether there was no memory for a computation, which may do with less or later; the device is as it was."""
    if isinstance(fault, torch.OutOfMemoryError | MemoryError):
        return True
    return any(sentence in str(fault) for sentence in _OUT_OF_MEMORY)


def is_device_fault(fault: BaseException) -> bool:
    """Whether the device itself is broken, so that nothing more can be computed as things stand."""
    if is_out_of_memory(fault):
        return False
    return isinstance(fault, torch.AcceleratorError) or "CUDA error" in str(fault)


class DeviceOwner:
    """Runs calls and steps, one at a time, on a thread of its own, and sleeps while there is neither.

    `step` returns whether another step is due. A fault that escapes a step, or a device fault in a call, poisons the
    thread: `broken` runs as its last act, then a fresh thread takes over, begins with `rebuild`, and goes on with the
    calls that wait.
    """

    def __init__(
        self,
        name: str,
        *,
        step: Callable[[], bool],
        broken: Callable[[], None],
        rebuild: Callable[[], None],
    ) -> None:
        self._name, self._step, self._broken, self._rebuild = name, step, broken, rebuild
        self._wake = threading.Condition()
        self._calls: deque[Callable[[], None]] = deque()
        self._step_due = False
        self._closed = False
        self._thread = self._start(self._run)

    def _start(self, target: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=target, name=self._name, daemon=True)
        thread.start()
        return thread

    def nudge(self) -> None:
        """Tell the thread that there is something to do in a step."""
        with self._wake:
            self._step_due = True
            self._wake.notify()

    def call(self, work: Callable[[], Result]) -> Result:
        """Run `work` on the owner thread between two steps and wait for what it returns or raises."""
        future: Future[Result] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as fault:  # a panic of a library in Rust is no Exception
                future.set_exception(fault)
                if is_device_fault(fault):
                    raise

        with self._wake:
            if self._closed:
                raise OwnerClosedError
            self._calls.append(run)
            self._wake.notify()
        return future.result()

    def close(self) -> None:
        """Finish the calls that wait, and end the thread."""
        with self._wake:
            self._closed = True
            self._wake.notify()
            thread = self._thread
        thread.join()

    def _run(self) -> None:
        try:
            while self._run_once():
                pass
        except BaseException:
            logger.exception("%s is broken: its thread is replaced", self._name)
            self._clean_up()
            with self._wake:
                self._thread = self._start(self._run_anew)

    def _clean_up(self) -> None:
        try:
            self._broken()
        except Exception:
            logger.exception("%s could not be given up in order", self._name)

    def _run_anew(self) -> None:
        try:
            self._rebuild()
        except Exception:
            logger.exception("%s could not be rebuilt", self._name)
        self._run()

    def _run_once(self) -> bool:
        with self._wake:
            if not self._wake.wait_for(self._is_due, _IDLE_S):
                openmp.give_back()
                self._wake.wait_for(self._is_due)
            call = self._calls.popleft() if self._calls else None
            if call is None and self._closed:
                return False
            step_due, self._step_due = self._step_due, False
        if call:
            call()
        if step_due and self._step():
            self.nudge()
        return True

    def _is_due(self) -> bool:
        return bool(self._calls) or self._step_due or self._closed
