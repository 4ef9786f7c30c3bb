"""What `up` shows to people: on stderr, so that stdout has the ready line and nothing else."""

from __future__ import annotations

import sys
import time
from contextlib import suppress

from rich.console import Console
from rich.status import Status
from rich.text import Text

#: On a pipe every progress text is a line of its own; a download would fill the log otherwise.
LINE_PERIOD_S = 2.0


class Terminal:
    """A terminal shows the current step as a status that moves; anything else gets plain lines."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.is_interactive = self._console.is_terminal
        self._status: Status | None = None
        self._progress = ""
        self._progress_due_s = 0.0

    def say(self, sentence: str) -> None:
        self._print(Text(sentence))

    def say_of(self, name: str, line: str) -> None:
        """A line that a child printed."""
        self._print(Text.assemble((f"{name} | ", "dim"), Text.from_ansi(line)))

    def progress(self, text: str) -> None:
        """What is being waited for now; the same text again says nothing."""
        if text == self._progress or (not self.is_interactive and time.monotonic() < self._progress_due_s):
            return
        self._progress = text
        self._progress_due_s = time.monotonic() + LINE_PERIOD_S
        if not self.is_interactive:
            self.say(text)
            return
        if self._status is None:
            self._status = self._console.status(text)
            self._status.start()
        self._status.update(Text(text))

    def end_progress(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def announce(self, line: str) -> None:
        """The one line on stdout, whole also where a script reads it from a pipe."""
        self.end_progress()
        with suppress(OSError):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

    def _print(self, text: Text) -> None:
        # A terminal that was closed must not end what runs.
        with suppress(OSError):
            if self.is_interactive:
                self._console.print(text)
            else:
                sys.stderr.write(f"{text.plain}\n")
                sys.stderr.flush()
