"""What a test makes, beside what it made when somebody last read it: files in folders named `golden`.

`make golden` writes them anew; what is to be read then is their diff.
"""

from __future__ import annotations

import os
from pathlib import Path


def compare(file: Path, made: str) -> None:
    """Fail where `made` is not what the file holds; with HELEXA_WRITE_GOLDEN set, write it there."""
    if os.environ.get("HELEXA_WRITE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(made)
    assert file.exists(), f"{file} is missing: run `make golden` and read what it wrote"
    assert made == file.read_text(), f"{file.name} differs: run `make golden` and read the diff"
