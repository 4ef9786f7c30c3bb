"""How much torch remembers of the shapes that it has multiplied on a CPU, and which of them come again.

oneDNN plans the multiplication of each shape that it has not met: 4.7 ms for one of keys that takes 0.9 (one thread),
6 ms for all of the bench's network.
"""

from __future__ import annotations

import os

#: oneDNN keeps a kernel of some 0.3 MB for each shape, and torch's layer above it another one of its own: 1,024 each
#: unless told otherwise, which is over a GB, since every step has other shapes than the one before. A model needs some
#: ten for each number of rows; with half as many as this the bench plans nearly all of its shapes anew in each round.
_SHAPES = "512"
#: Keys and rows come in multiples of so many, so that other steps have the same.
_MULTIPLE = 32
VARIABLES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")


def bound() -> None:
    """Bound both, in this process, where the environment does not say it. To be called before anything is multiplied.

    Sources: oneDNN's developer guide, "Primitive Cache"; pytorch issues 29893 and 98688.
    """
    for variable in VARIABLES:
        os.environ.setdefault(variable, _SHAPES)


def recurring_from(size: int) -> int:
    """The next size from this one on that other steps have as well."""
    return -(-size // _MULTIPLE) * _MULTIPLE


def recurring_up_to(size: int, *, beside: int) -> int:
    """This size or a little less, never 0, which with what is beside it is one that other steps have too."""
    odd = (size + beside) % _MULTIPLE
    return size - odd if size > odd else size
