"""Tests of helexa."""

import os
from pathlib import Path

# Without a GPU our Triton kernels run in Triton's interpreter, which Triton is told when it is first imported.
if not Path("/proc/driver/nvidia").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")
