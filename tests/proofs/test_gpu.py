"""The proof for GPUs says plainly when there is none."""

from __future__ import annotations

import pytest
import torch

from tests.proofs import gpu


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here, and the proof would run")
def test_without_a_gpu_it_says_so_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([]) == gpu.NO_GPU
    assert "nothing was shown" in capsys.readouterr().err
