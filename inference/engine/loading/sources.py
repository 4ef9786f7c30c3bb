"""Where a model's weights come from: a folder, a GGUF file, or a hub id. All end as a folder of safetensors."""

from __future__ import annotations

import re
from pathlib import Path

from inference.engine.loading import conversion, hub
from inference.engine.progress import LoadError, Progress

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def folder_of(source: str, *, cache: Path, progress: Progress) -> Path:
    """The folder to load from; downloads or converts first where that is needed. Touches no device."""
    path = Path(source).expanduser()
    try:
        is_folder = path.is_dir()
    except OSError as fault:  # a name that is too long, say
        raise LoadError(f"There is no folder {source[:100]} ({fault.strerror}): give one that exists.") from fault
    if is_folder:
        return _checked(path)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise LoadError(f"There is no file {path}: give the path of a .gguf file that exists.")
        return conversion.converted(path, cache=cache, progress=progress)
    if path.is_file():
        raise LoadError(f"{path} is no model: give a folder with safetensors, a .gguf file or a hub id.")
    if not _HUB_ID.fullmatch(source):
        raise LoadError(f"There is no folder {path}: give one that exists, a .gguf file or a hub id.")
    return _checked(hub.download(source, progress=progress))


def _checked(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise LoadError(f"{folder} holds no config.json: give the folder that a model was saved to.")
    if not any(folder.glob("*.safetensors")):
        raise LoadError(f"{folder} holds no .safetensors weights: save the model in that format first.")
    # transformers makes an empty tokenizer where there is none.
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise LoadError(f"{folder} holds no tokenizer.json: save the model's tokenizer there too.")
    return folder
