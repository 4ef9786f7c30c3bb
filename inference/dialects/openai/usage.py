"""OpenAI's usage object, and what else its answers tell of how they were made."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from inference.events import Finished


def usage(finished: Finished) -> dict[str, Any]:
    """From the engine's counts. Cached and reasoning tokens are among the totals."""
    return {
        "prompt_tokens": finished.prompt_tokens,
        "completion_tokens": finished.completion_tokens,
        "total_tokens": finished.prompt_tokens + finished.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": finished.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": finished.reasoning_tokens},
    }


def _fingerprint() -> str:
    try:
        release = version("helexa")
    except PackageNotFoundError:
        release = "unknown"
    return f"fp_{hashlib.sha256(release.encode()).hexdigest()[:10]}"


#: Changes with what may change the answer to the same seed: the release.
SYSTEM_FINGERPRINT = _fingerprint()
