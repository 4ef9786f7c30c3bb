"""How much torch remembers of the shapes that it has multiplied on a CPU."""

from __future__ import annotations

import os

#: oneDNN keeps a kernel of some 0.3 MB for each shape, and torch's layer above it another one of its own: 1,024 each
#: unless told otherwise, which is over a GB, since every step has other shapes than the one before. A model needs some
#: ten for each number of rows; with half as many as this the bench plans nearly all of its shapes anew in each round.
_SHAPES = "512"
VARIABLES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")


def bound() -> None:
    """Bound both, in this process, where the environment does not say it. To be called before anything is multiplied.

    Sources: oneDNN's developer guide, "Primitive Cache"; pytorch issues 29893 and 98688.
    """
    for variable in VARIABLES:
        os.environ.setdefault(variable, _SHAPES)
