"""The Triton kernels compile to machine code of real GPUs, which needs no GPU, and fit into what these share."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.engine.attention.pages import needs_triton

#: Ampere and Hopper; of all GPUs since Ampere the least that the programs of a multiprocessor share.
CAPABILITIES = (80, 90)
LEAST_SHARED_BYTES = 99 * 1024


def compiled_bytes(capability: int, *, dtype: str, width: int, rows: int, splits: int) -> int:
    """Compile both kernels for a shape and return the shared memory that `attend` asks for."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from inference.engine.attention import triton_kernels

    element = {"fp32": 4, "bf16": 2}[dtype]
    constants = {
        "GROUP": 4,
        "HEAD_DIM": width,
        "PAGE_TOKENS": 16,
        "WINDOW": 100,
        "SPLITS": splits,
        "TILE_ROWS": rows,
        "TILE_KEYS": max(16, min(64, 16 * 1024 // (width * element))),
        "TILE_WIDTH": width,
        "PRECISION": "ieee" if dtype == "fp32" else "tf32",
    }
    partial = "*fp32" if splits > 1 else f"*{dtype}"
    pointers = {
        **dict.fromkeys(("query", "keys", "values"), f"*{dtype}"),
        **dict.fromkeys(("parts", "maxima", "sums"), partial),
        **dict.fromkeys(("row_starts", "key_lengths", "tables"), "*i32"),
    }
    shared = []
    for kernel, output in ((triton_kernels.attend, partial), (triton_kernels.merge, f"*{dtype}")):
        types = {"output": output, "scale": "fp32", **pointers}
        names = kernel.arg_names
        signature = {name: "constexpr" if name in constants else types.get(name, "i32") for name in names}
        aligned = {(names.index(name),): [["tt.divisibility", 16]] for name in names if name in pointers}
        source = ASTSource(kernel, signature, {name: constants[name] for name in names if name in constants}, aligned)
        options = {"num_warps": 4 if width <= 128 else 8, "num_stages": 2}
        shared.append(triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options).metadata.shared)
    return max(shared)


@needs_triton
@pytest.mark.parametrize(("dtype", "width"), [("bf16", 128), ("bf16", 256)])
def test_kernels_compile_for_gpus(dtype: str, width: int) -> None:
    # In a process of its own: this one may have been told to interpret.
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_DEFAULT_FP_FUSION": "1"}
    asked = [sys.executable, "-m", "tests.engine.attention.test_triton_compiles", dtype, str(width)]
    ran = subprocess.run(asked, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.split()) == 2 * len(CAPABILITIES)
    assert all(0 < int(shared) <= LEAST_SHARED_BYTES for shared in ran.stdout.split()), ran.stdout


if __name__ == "__main__":
    for capability in CAPABILITIES:
        for rows, splits in ((16, 8), (64, 1)):
            print(compiled_bytes(capability, dtype=sys.argv[1], width=int(sys.argv[2]), rows=rows, splits=splits))
