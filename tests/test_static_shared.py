"""Static shared memory beyond what a launch allows, which compilers of some archs let through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gpu_programs import program
from module_support import SOFTMAX, judge

from mkgen.codegen.registry import backend_named
from mkgen.evaluate.limits import artifact_excess, target_limits
from mkgen.evaluate.pool import Workers
from mkgen.program import Artifact, Resources
from mkgen.record import Record, Status
from mkgen.target import Target

ALLOWED = 49152
TEXT = """/* mkgen
task = "softmax"
backend = "cuda"
[[launch]]
entry = "k"
args = ["x", "y"]
grid = ["ROWS"]
block = [32]
sub_group = 32
*/
#include <cuda_runtime.h>

extern "C" __global__ void k(const float* __restrict__ x, float* __restrict__ y) {
  __shared__ float held[FLOATS];
  for (int c = threadIdx.x; c < COLS; c += 32) held[c] = x[blockIdx.x * COLS + c];
  __syncthreads();
  float largest = held[0], sum = 0.0f;
  for (int c = 1; c < COLS; ++c) largest = fmaxf(largest, held[c]);
  for (int c = threadIdx.x; c < COLS; c += 32) sum += expf(held[c] - largest);
  for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
  for (int c = threadIdx.x; c < COLS; c += 32)
    y[blockIdx.x * COLS + c] = expf(held[c] - largest) / sum;
}
"""


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(1) as made:
        yield made


def judged(bytes_: int, directory: Path, workers: Workers) -> Record:
    path = directory / "k.cu"
    path.write_text(TEXT.replace("FLOATS", str(bytes_ // 4)))
    return judge(path, SOFTMAX, "cuda:sm_90a", workers)


def test_as_much_as_is_allowed_passes(tmp_path: Path, workers: Workers) -> None:
    record = judged(ALLOWED, tmp_path, workers)
    assert record.status is Status.PASS, record.reason
    used = record.artifacts[0].resources["k"]
    assert used.static_shared_bytes == used.shared_bytes == ALLOWED


def test_four_bytes_more_are_over_the_limit_though_they_compile(
    tmp_path: Path, workers: Workers
) -> None:
    record = judged(ALLOWED + 4, tmp_path, workers)
    assert record.artifacts[0].resources["k"].static_shared_bytes == ALLOWED + 4
    assert record.status is Status.OVER_LIMIT, record.reason
    assert f"k: {ALLOWED + 4} bytes of static shared memory; {ALLOWED} are allowed" in record.reason


def excess(target: str, resources: Resources) -> str:
    parsed = Target.parse(target)
    limits = target_limits(backend_named(parsed.backend), parsed)
    artifact = Artifact(
        arch=parsed.arch, format="cubin", path="", sha="", resources={"k": resources}, compiler="",
        compiler_sha="", command="", checked="", seconds=0.0,
    )  # fmt: skip
    return artifact_excess(program(target), artifact, limits)


@pytest.mark.parametrize(
    ("target", "shared", "static"),
    [
        ("cuda:sm_90a", 200_000, ALLOWED),  # the rest is dynamic
        ("cuda:sm_80", ALLOWED, ALLOWED),
        ("triton:sm_90", 200_000, None),  # all of it is
        ("hip:gfx942", 65536, 65536),  # AMD makes no difference
    ],
)
def test_dynamic_shared_memory_and_other_vendors_have_no_such_limit(
    target: str, shared: int, static: int | None
) -> None:
    assert excess(target, Resources(shared_bytes=shared, static_shared_bytes=static)) == ""


@pytest.mark.parametrize("target", ["cuda:sm_80", "cuda:sm_89", "cuda:sm_100a", "hip:sm_90"])
def test_every_nvidia_device_has_it(target: str) -> None:
    found = excess(target, Resources(shared_bytes=ALLOWED + 4, static_shared_bytes=ALLOWED + 4))
    assert "static shared memory" in found and "only as dynamic" in found


def test_what_a_launch_asks_for_is_not_static(tmp_path: Path) -> None:
    artifact = backend_named("cuda").compile(program("cuda:sm_90a", shared=60_000), tmp_path)
    used = artifact.resources["softmax_kernel"]
    assert used.shared_bytes is not None and used.static_shared_bytes is not None
    assert used.shared_bytes - used.static_shared_bytes == 60_000
