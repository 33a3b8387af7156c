"""A loaded program finds other values at the same addresses, and nothing of the run before."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from simt_programs import buffer, load

from mkgen.errors import ExecutionError, InputChangedError
from mkgen.program import Buffer, BufferRole, Launch, Program, Simt, Source, Variant
from mkgen.target import Target
from mkgen_simt.device_run import GpuLoaded, GpuRuntime
from mkgen_simt.stepwise import Device, StepRunner

ONE, TWO = (np.full(8, value, np.float32) for value in (1, 2))

POINTERS = """
#include <cuda_runtime.h>
__global__ void k(const float* x, long long* at, float* y) {
  if (x[0] == 9) const_cast<float*>(x)[1] = 0;
  at[0] = (long long)x; at[1] = (long long)y;
  if (x[0] != 7) y[threadIdx.x] = 2 * x[threadIdx.x];
  if (x[0] == 8) y[8] = 1;
}
extern "C" cudaError_t run(const float* x, long long* at, float* y, cudaStream_t stream) {
  cudaLaunchConfig_t config = {};
  config.gridDim = 1; config.blockDim = 8; config.stream = stream;
  return cudaLaunchKernelEx(&config, k, x, at, y);
}
"""


def test_simt_on_host() -> None:
    at = np.empty(2, np.int64)
    loaded = load(
        "cuda", POINTERS, "run",
        (buffer("x", ONE, "input"), buffer("at", at, "output"), buffer("y", ONE, "output")),
    )  # fmt: skip
    first, second = loaded.run({"x": ONE}), loaded.run({"x": TWO})
    assert first["at"].tolist() == second["at"].tolist()
    assert np.array_equal(second["y"], TWO * 2)
    other = loaded.run({"x": TWO}, "fenced")
    assert other["at"].tolist() != first["at"].tolist()
    assert loaded.run({"x": TWO}, "fenced")["at"].tolist() == other["at"].tolist()
    # what a run left unwritten is not the result of the one before
    assert np.isnan(loaded.run({"x": TWO * 0 + 7})["y"]).all()
    for fault, told in ((9, InputChangedError), (8, ExecutionError)):
        with pytest.raises(told):
            loaded.run({"x": TWO * 0 + fault})
        assert np.array_equal(loaded.run({"x": ONE})["y"], ONE * 2), "nothing of the fault is left"
    loaded.rest()
    assert np.array_equal(loaded.run({"x": ONE})["y"], ONE * 2)
    loaded.close()


def steps(behaviour: str = "right") -> Program:
    """One launch of a kernel that the fakes below know by the name."""
    return Program(
        task="t", task_hash="0", workload="check1", target=Target(backend="b", arch="a"),
        sources=(Source(name="k", language="cuda", head="", sizes="", body=behaviour),),
        buffers=(
            Buffer(name="x", dtype="float32", shape=(8,), role=BufferRole.INPUT),
            Buffer(name="y", dtype="float32", shape=(8,), role=BufferRole.OUTPUT),
        ),
        steps=(
            Launch(
                source="k", entry=behaviour, args=("x", "y"), reads=("x",), writes=("y",),
                configuration=Simt(grid=(1, 1, 1), block=(8, 1, 1)),
            ),
        ),
        variant=Variant(templates=("t",), parameters={}, index_bits=32),
        launcher="run", constants={},
    )  # fmt: skip


class FakeQueue(Device):
    """Blocks are arrays of bytes."""

    def __init__(self) -> None:
        self.live: list[np.ndarray] = []
        self.made = 0

    def allocate(self, image):
        self.made += 1
        self.live.append(image.copy())
        return self.live[-1]

    def read(self, block):
        return block.copy()

    def write(self, block, image):
        block[:] = image

    def release(self, block):
        self.live = [b for b in self.live if b is not block]

    def launch(self, launch: Launch, args: Any) -> None:
        (x, at), (y, to) = args
        given = x[at : at + 32].view(np.float32)
        if launch.entry == "fails" and given[0] == 2:
            raise ExecutionError("the device is gone")
        y[to : to + 32].view(np.float32)[:] = given * 2
        if launch.entry == "changes":
            given[3] = 0

    def finish(self) -> None:
        pass


def test_a_runner_of_steps() -> None:
    device = FakeQueue()
    runner = StepRunner(steps(), device)
    for x in (ONE, TWO, ONE):
        assert np.array_equal(runner.run({"x": x})["y"], x * 2)
    assert device.made == len(device.live) == 2
    runner.rest()
    assert not device.live
    failing = StepRunner(steps("fails"), device)
    failing.run({"x": ONE})
    with pytest.raises(ExecutionError, match="gone"):
        failing.run({"x": TWO})
    assert not device.live, "a fault leaves nothing to the next run"
    assert np.array_equal(failing.run({"x": ONE})["y"], ONE * 2)
    failing.close()
    with pytest.raises(InputChangedError, match="'x'"):
        StepRunner(steps("changes"), device).run({"x": ONE})
    assert not device.live


class FakeRuntime(GpuRuntime):
    """Memory is a dictionary."""

    last_level_cache = 0

    def __init__(self) -> None:
        self.memory: dict[int, np.ndarray] = {}
        self.next = itertools.count(4096, 4096)
        self.seen: list[list[int]] = []

    def allocate(self, size):
        at = next(self.next)
        self.memory[at] = np.zeros(size, np.uint8)
        return at

    def free(self, pointer):
        del self.memory[pointer]

    def upload(self, pointer, data):
        self.memory[pointer][:] = data.view(np.uint8)

    def download(self, pointer, data):
        data.view(np.uint8)[:] = self.memory[pointer]

    def launch(self, entry, configuration, pointers):
        self.seen.append(pointers)
        x, y = (self.memory[p].view(np.float32) for p in pointers)
        y[:] = x * 2
        if entry == "changes":
            x[5] = 0

    def fill(self, *arguments):
        raise AssertionError("nothing is timed")

    copy = wait_for_device = fill

    def synchronize(self):
        pass

    def timed(self, before, work):
        raise AssertionError("nothing is timed")

    def close(self):
        pass


def test_a_gpu() -> None:
    runtime = FakeRuntime()
    loaded = GpuLoaded(steps(), runtime)
    for x in (ONE, TWO):
        assert np.array_equal(loaded.run({"x": x})["y"], x * 2)
    assert runtime.seen[0] == runtime.seen[1]
    loaded.rest()
    assert not runtime.memory
    loaded.run({"x": ONE})
    loaded.close()
    assert not runtime.memory


def test_a_gpu_sees_that_an_input_was_changed() -> None:
    runtime = FakeRuntime()
    with pytest.raises(InputChangedError, match="'x', whose role is input"):
        GpuLoaded(steps("changes"), runtime).run({"x": ONE})
    assert not runtime.memory


def test_tritons_interpreter() -> None:
    from mkgen_triton.interpreter import Interpreted

    loaded = Interpreted(steps(), lambda x: x)
    guards, first = loaded._arguments({"x": ONE}, False)
    at = first["x"].data_ptr()
    guards._held[0][1][:] = 0  # a kernel that writes all over the place
    with pytest.raises(ExecutionError, match="out-of-bounds"):
        guards.check()
    guards, second = loaded._arguments({"x": TWO}, False)
    assert second["x"].data_ptr() == at and second["x"].tolist() == TWO.tolist()
    guards.check()
    assert loaded._arguments({"x": TWO}, True)[1]["x"].data_ptr() != at
    loaded.rest()
    assert not loaded._kept
