"""GGUF files, unpacked once into safetensors that load in seconds.

The work runs in a process of its own, `converter`: it takes a minute and three gigabytes for a small model, and while
transformers builds a model it changes the process-wide default dtype, under the feet of whatever computes meanwhile.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from inference.engine.progress import LoadError, Progress, is_disk_full

_PACKAGES = Path(__file__).parents[3]


def converted(file: Path, *, cache: Path, progress: Progress) -> Path:
    """The folder with the file's weights and tokenizer, made now if this very file was not converted before."""
    folder = cache / f"{file.stem}-{_fingerprint(file)}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with Path(f"{folder}.lock").open("w") as lock:
            # A second neuron of this machine waits here for the first one's result.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                progress(f"converting {file.name}, once")
                _convert_atomically(file, folder)
    except OSError as fault:
        raise _unwritable(cache, fault) from fault
    return folder


def _fingerprint(file: Path) -> str:
    """Changes with the file's place, size and time: enough to notice that it was replaced, without reading it."""
    stat = file.stat()
    identity = f"{file.resolve()} {stat.st_size} {stat.st_mtime_ns}"
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def _convert_atomically(file: Path, folder: Path) -> None:
    half_made = Path(f"{folder}.new")
    shutil.rmtree(half_made, ignore_errors=True)  # of a conversion that was killed
    half_made.mkdir()
    try:
        _run_converter(file, half_made)
        half_made.replace(folder)
    finally:
        shutil.rmtree(half_made, ignore_errors=True)


def _run_converter(file: Path, folder: Path) -> None:
    """Wait for the other process. It dies with us: the end of its standard input tells it that we are gone."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_PACKAGES), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "inference.engine.loading.converter", str(file.resolve()), str(folder.resolve())]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as converter:
        try:
            assert converter.stdout is not None
            reason = converter.stdout.read().strip()
        except BaseException:
            converter.kill()
            raise
    if converter.returncode != 0:
        raise LoadError(reason or f"Converting {file.name} stopped without a word; it may have run out of memory.")


def _unwritable(cache: Path, fault: OSError) -> LoadError:
    if is_disk_full(fault):
        return LoadError(f"There is not enough disk in {cache} for the converted weights: make room there.")
    return LoadError(f"Converted weights cannot be kept in {cache} ({fault.strerror}): make it writable.")
