"""Models from the Hugging Face hub or a mirror of it.

Endpoint, token and cache folder are huggingface_hub's own: HF_ENDPOINT, HF_TOKEN, HF_HOME.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    DryRunError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from tqdm.auto import tqdm

from inference.engine.progress import LoadError, Progress, first_sentence, is_disk_full

logger = logging.getLogger(__name__)

_WANTED = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.tiktoken", "merges.txt", "vocab.txt"]
#: The same weights a second time, in other layouts.
_DUPLICATES = ["*/*.safetensors", "consolidated*.safetensors"]
_SELECTION: dict[str, Any] = {"allow_patterns": _WANTED, "ignore_patterns": _DUPLICATES}


def download(repository: str, *, progress: Progress) -> Path:
    """The folder of a hub repository in huggingface_hub's cache; what is there already is not fetched again."""
    try:
        files = snapshot_download(repository, dry_run=True, **_SELECTION)
    except (DryRunError, HfHubHTTPError, HFValidationError) as fault:
        return _cached(repository, fault)
    missing_bytes = sum(file.file_size or 0 for file in files if file.will_download)
    _check_room(repository, missing_bytes)
    try:
        return Path(snapshot_download(repository, tqdm_class=_bar(progress, missing_bytes), **_SELECTION))
    except Exception as fault:
        if is_disk_full(fault):
            raise _no_room(repository, missing_bytes) from fault
        raise LoadError(
            f"Downloading {repository} from {constants.ENDPOINT} broke off ({first_sentence(fault)}): "
            "load it again to go on where it stopped."
        ) from fault


def _cached(repository: str, fault: Exception) -> Path:
    """The copy in the cache for when the hub does not answer, else the reason why there is none."""
    cause = fault.__cause__ if isinstance(fault, DryRunError) else fault
    if isinstance(cause, (GatedRepoError, RepositoryNotFoundError, HFValidationError)):
        raise LoadError(
            f"{constants.ENDPOINT} shows no model {repository!r} to this token: check the name, "
            "or set HF_TOKEN to a token that may read it."
        ) from fault
    try:
        folder = Path(snapshot_download(repository, local_files_only=True, **_SELECTION))
    except LocalEntryNotFoundError:
        raise LoadError(
            f"The hub at {constants.ENDPOINT} cannot be reached and {repository} is not in the cache: "
            "check the network or HF_ENDPOINT, or give a local folder."
        ) from fault
    logger.warning("%s cannot be reached: %s comes from the cache and may be old", constants.ENDPOINT, repository)
    return folder


def _check_room(repository: str, needed_bytes: int) -> None:
    cache = Path(constants.HF_HUB_CACHE)
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if shutil.disk_usage(existing).free < needed_bytes:
        raise _no_room(repository, needed_bytes)


def _no_room(repository: str, needed_bytes: int) -> LoadError:
    return LoadError(
        f"There is not enough disk for the {_mb(needed_bytes)} MB of {repository}: "
        f"make room in {constants.HF_HUB_CACHE}, or set HF_HOME to a larger disk."
    )


def _bar(progress: Progress, total_bytes: int) -> type[tqdm]:
    """A progress bar class that shows our sentence. The hub's client makes one for bytes received, one for written."""
    furthest = 0

    class Bar(tqdm):
        def display(self, *_args: Any, **_kwargs: Any) -> bool:
            nonlocal furthest
            if self.unit == "B" and _mb(int(self.n)) > furthest:
                furthest = _mb(int(self.n))
                progress(f"downloading {furthest} of {_mb(total_bytes)} MB")
            return True

    return Bar


def _mb(size_bytes: int) -> int:
    return round(size_bytes / 1e6)
