"""What a part of the bench is told and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

Cell = str | int | float


@dataclass(frozen=True)
class Setting:
    """Where and how long to measure; `quick` proves that a part runs, with figures that mean nothing."""

    device: torch.device
    rounds: int
    quick: bool = False


@dataclass
class Table:
    """Rows under their columns, with what has to be known to read them.

    `headline` is what the JSON object has besides its tables.
    """

    title: str
    columns: list[str]
    rows: list[list[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    headline: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        cells = [self.columns, *([_shown(cell) for cell in row] for row in self.rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.columns))]
        lines = [
            "  ".join(cell.ljust(width) if at == 0 else cell.rjust(width) for at, (cell, width) in enumerate(pairs))
            for pairs in (list(zip(row, widths, strict=True)) for row in cells)
        ]
        return "\n".join([self.title, *lines, *self.notes, ""])

    def data(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "headline"}


Part = Callable[[Setting], Table]


def _shown(cell: Cell) -> str:
    if isinstance(cell, float):
        return f"{cell:.3g}" if cell < 100 else f"{cell:.0f}"
    return str(cell)
