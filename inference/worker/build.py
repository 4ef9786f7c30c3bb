"""What this process was built from, for reports and comparisons (MISSION N18)."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).resolve().parents[2]


@cache
def build() -> dict[str, Any]:
    """Package version, commit, whether the tree differs from it, build time, torch, CUDA and features.

    HELEXA_BUILD_SHA, set when an image or wheel is built, wins over git. What cannot be known is said to be unknown.
    """
    import torch

    sha, dirty, committed_at = _commit()
    return {
        "version": _version("helexa"),
        "sha": sha,
        "dirty": dirty,
        "built_at": committed_at,
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "transformers": _version("transformers"),
        "features": sorted(_features()),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _commit() -> tuple[str, bool | None, str]:
    """Commit, whether the checkout is dirty, and the time of the commit."""
    if sha := os.environ.get("HELEXA_BUILD_SHA"):
        return sha, None, os.environ.get("HELEXA_BUILD_TIME", "unknown")
    sha = _git("rev-parse", "HEAD")
    if not sha:
        return "unknown", None, "unknown"
    return sha, bool(_git("status", "--porcelain", "--untracked-files=no")), _git("show", "-s", "--format=%cI", "HEAD")


def _git(*arguments: str) -> str:
    """What git says about this checkout, empty where there is no git or no checkout."""
    command = ["git", "-C", str(_REPOSITORY), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _features() -> set[str]:
    import torch

    features = set()
    if torch.cuda.is_available():
        features.add("cuda")
    if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        features.add("mkldnn")
    return features
