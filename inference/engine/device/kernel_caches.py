"""How much torch remembers of the shapes that it has multiplied on a CPU, and which of them come again.

oneDNN plans the multiplication of each shape that it has not met: 4.7 ms for one of keys that takes 0.9 (one thread),
6 ms for all of the bench's network.
"""

from __future__ import annotations

import os

#: How many shapes each of them remembers; 1,024 unless told otherwise. A model needs some ten for each number of rows,
#: and every step has other shapes than the one before.
#:
#: - oneDNN keeps kernels of up to 0.4 MB each: with half as many as this the bench plans nearly all anew in each round.
#: - torch's layer above it keeps 0.25 MB for each multiplication of keys, of which a hit saves nothing, and 20 KB for
#:   each of weights, of which a hit saves 16 us: as many as a few numbers of rows need.
_REMEMBERED = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "512", "LRU_CACHE_CAPACITY": "64"}
#: Keys and rows come in multiples of so many, so that other steps have the same.
_MULTIPLE = 32


def bound() -> None:
    """Bound both, in this process, where the environment does not say it. To be called before anything is multiplied.

    Sources: oneDNN's developer guide, "Primitive Cache"; pytorch issues 29893 and 98688.
    """
    for variable, shapes in _REMEMBERED.items():
        os.environ.setdefault(variable, shapes)


def recurring_from(size: int) -> int:
    """The next size from this one on that other steps have as well."""
    return -(-size // _MULTIPLE) * _MULTIPLE


def recurring_up_to(size: int, *, beside: int) -> int:
    """This size or a little less, never 0, which with what is beside it is one that other steps have too."""
    odd = (size + beside) % _MULTIPLE
    return size - odd if size > odd else size
