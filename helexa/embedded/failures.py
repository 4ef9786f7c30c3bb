"""What a server printed before it gave up, as one sentence that says what to do."""

from __future__ import annotations

import errno
from pathlib import Path

from helexa.home import explain


def explain_output(server: str, output: str, *, folder: Path, port: int, variable: str) -> str:
    if "No space left on device" in output:
        return explain(OSError(errno.ENOSPC, ""), folder)
    if "Address already in use" in output or "Address in use" in output:
        return f"Port {port}, which {server} used here before, is taken: stop what listens there, then start again."
    if "Permission denied" in output or "Operation not permitted" in output:
        return explain(OSError(errno.EACCES, ""), folder)
    return f"{server} did not start ({_last_reason(output)}): set {variable} to a running server, or see its log."


def _last_reason(output: str) -> str:
    """The last line that names an error, else the last line at all."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    reasons = [
        line for line in lines if any(word in line for word in ("FATAL", "ERROR", "PANIC", "error", "Fatal", "Can't"))
    ]
    return (reasons or lines or ["it printed nothing"])[-1][:300]
