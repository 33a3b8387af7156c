"""A loaded program finds other values at the same addresses, and nothing of the run before."""

# ruff: noqa: N802  (functions are called as in the driver)

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from simt_programs import buffer, load

from mkgen.errors import ExecutionError, InputChangedError
from mkgen.fence import FENCED, REACH
from mkgen.program import Buffer, BufferRole, Launch, Program, Simt, Source, Variant
from mkgen.target import Target
from mkgen_simt import nvidia_fence
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
    """Memory is a dictionary; a kernel reads and writes beside its buffers if its name says so."""

    last_level_cache = 0

    def __init__(self) -> None:
        self.memory: dict[int, np.ndarray] = {}
        self.next = itertools.count(1 << 32, 1 << 32)
        self.seen: list[list[int]] = []
        self.uploads = 0

    def allocate(self, size):
        at = next(self.next)
        self.memory[at] = np.zeros(size, np.uint8)
        return at

    def free(self, pointer):
        del self.memory[pointer]

    def at(self, pointer, size):
        base = pointer >> 32 << 32
        return self.memory[base][pointer - base :][:size]

    def upload(self, pointer, data):
        self.uploads += 1
        self.at(pointer, data.nbytes)[:] = data.view(np.uint8)

    def download(self, pointer, data):
        data.view(np.uint8)[:] = self.at(pointer, data.nbytes)

    def launch(self, entry, configuration, pointers):
        self.seen.append(pointers)
        x, y = (self.at(p, 32).view(np.float32) for p in pointers)
        y[:] = x * 2
        if entry == "changes":
            x[5] = 0
        if entry.startswith("writes"):
            offset = int(entry.split()[1])
            self.at(pointers[1] + offset, 4)[:] = 0
        if entry.startswith("reads"):
            offset = int(entry.split()[1])
            y[0] = self.at(pointers[0] + offset, 4).view(np.float32)[0]

    def fill(self, *arguments):
        raise AssertionError("nothing is timed")

    copy = wait_for_device = fill

    def synchronize(self):
        pass

    def timed(self, before, work):
        raise AssertionError("nothing is timed")

    def close(self):
        pass


PAGE = 1 << 21


class FakeDriver:
    """The calls of the CUDA driver that memory at a fence takes; every one succeeds."""

    def __init__(self) -> None:
        self.next = itertools.count(1 << 32, 1 << 32)
        self.reserved: dict[int, int] = {}
        self.created: set[int] = set()
        self.ends: set[int] = set()
        """Of what is mapped."""
        self.refuses = ""

    def memory_of(self, runtime: FakeRuntime, made: Any) -> Any:
        """`made`, with bytes of the runtime behind its addresses."""
        runtime.memory[made.address >> 32 << 32] = np.zeros(2 * PAGE, np.uint8)
        return made

    def cuMemGetAllocationGranularity(self, page, properties, flags):
        page._obj.value = PAGE
        return 0

    def cuMemAddressReserve(self, pointer, size, alignment, at, flags):
        pointer._obj.value = next(self.next)
        self.reserved[pointer._obj.value] = size.value
        return 0

    def cuMemCreate(self, handle, size, properties, flags):
        handle._obj.value = len(self.created) + 7
        self.created.add(handle._obj.value)
        return 0

    def cuMemMap(self, at, size, offset, handle, flags):
        if self.refuses == "cuMemMap":
            return 2
        self.ends.add(at.value + size.value)
        return 0

    def cuMemSetAccess(self, at, size, access, count):
        return 0

    def cuMemUnmap(self, at, size):
        self.ends.remove(at.value + size.value)
        return 0

    def cuMemRelease(self, handle):
        self.created.remove(handle.value)
        return 0

    def cuMemAddressFree(self, at, size):
        assert self.reserved.pop(at.value) == size.value
        return 0


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


@pytest.mark.parametrize(
    ("offset", "told"),
    [(-4, "before buffer 'y' were overwritten, the nearest 1 bytes from it"),
     (32, "after buffer 'y' were overwritten, the nearest 0 bytes from it"),
     (-REACH, f"before buffer 'y' were overwritten, the nearest {REACH - 3} bytes from it"),
     (32 + REACH - 4, f"after buffer 'y' were overwritten, the nearest {REACH - 4} bytes from it")],
)  # fmt: skip
def test_a_gpu_sees_writes_beside_a_buffer(offset: int, told: str) -> None:
    runtime = FakeRuntime()
    with pytest.raises(ExecutionError, match=f"out-of-bounds write: 4 bytes {told}"):
        GpuLoaded(steps(f"writes {offset}"), runtime).run({"x": ONE})
    assert not runtime.memory, "the next run has zones that are whole"


@pytest.mark.parametrize("offset", [-4, 32])
def test_a_read_beside_a_buffer_of_a_gpu_is_a_nan(offset: int) -> None:
    read = GpuLoaded(steps(f"reads {offset}"), FakeRuntime()).run({"x": ONE})["y"]
    assert np.isnan(read[0]) and np.array_equal(read[1:], ONE[1:] * 2)


def test_zones_are_filled_once_and_keep_the_alignment() -> None:
    runtime = FakeRuntime()
    loaded = GpuLoaded(steps(), runtime)
    for x in (ONE, TWO):
        loaded.run({"x": x})
    assert all(pointer % 4096 == 0 for pointer in runtime.seen[0])
    assert runtime.uploads == 2 * (2 + 2), "two zones and two runs of each of two buffers"


def test_without_zones_a_buffer_is_an_allocation() -> None:
    runtime = FakeRuntime()
    assert np.array_equal(GpuLoaded(steps(), runtime, reach=0).run({"x": ONE})["y"], ONE * 2)
    assert {memory.nbytes for memory in runtime.memory.values()} == {32}


def test_a_gpu_runs_once_more_at_a_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakeDriver()
    monkeypatch.setattr(nvidia_fence, "driver", lambda: driver)
    runtime = FakeRuntime()
    loaded = GpuLoaded(steps(), runtime)
    runtime.fenced = lambda *asked: driver.memory_of(runtime, nvidia_fence.FencedMemory(*asked))
    for x in (ONE, TWO):
        assert np.array_equal(loaded.run({"x": x}, FENCED)["y"], x * 2)
    assert runtime.seen[0] == runtime.seen[1]
    ends = {at + 32 for at in runtime.seen[0]}
    assert ends == driver.ends, "right behind a buffer nothing is mapped"
    assert all(driver.reserved[end - PAGE] >= PAGE + REACH for end in ends)
    loaded.rest()
    assert not driver.ends and not driver.reserved and not driver.created


def test_where_there_is_no_fence_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakeDriver()
    monkeypatch.setattr(nvidia_fence, "driver", lambda: driver)
    driver.refuses = "cuMemMap"
    with pytest.raises(ExecutionError, match="cuMemMap of NVIDIA's driver failed with error 2"):
        nvidia_fence.FencedMemory(32, 16)
    assert not driver.reserved and not driver.created, "what was reserved is given back"
    monkeypatch.setattr(nvidia_fence, "driver", lambda: None)
    with pytest.raises(ExecutionError, match="needs cuMemGetAllocationGranularity of NVIDIA"):
        nvidia_fence.FencedMemory(32, 16)
    with pytest.raises(ExecutionError, match="FakeRuntime has no memory at a fence"):
        GpuLoaded(steps(), FakeRuntime()).run({"x": ONE}, FENCED)
    with pytest.raises(ExecutionError, match="no schedule 'other'"):
        GpuLoaded(steps(), FakeRuntime()).run({"x": ONE}, "other")


def test_what_is_timed_has_no_zones() -> None:
    runtime = FakeRuntime()
    with GpuLoaded(steps(), runtime).placed({"x": ONE}) as memory:
        assert set(memory.values()) == set(runtime.memory)
        assert {buffer.nbytes for buffer in runtime.memory.values()} == {32}
    assert not runtime.memory


def test_tritons_interpreter() -> None:
    from mkgen_triton.interpreter import Interpreted

    loaded = Interpreted(steps(), lambda x: x)
    kept = loaded._arguments
    guards, first = kept.hold({"x": torch.from_numpy(ONE)}, False)
    at = first["x"].data_ptr()
    guards._held[0][1][:] = 0  # a kernel that writes all over the place
    with pytest.raises(ExecutionError, match="out-of-bounds"):
        guards.check()
    guards, second = kept.hold({"x": torch.from_numpy(TWO)}, False)
    assert second["x"].data_ptr() == at and second["x"].tolist() == TWO.tolist()
    guards.check()
    assert kept.hold({"x": torch.from_numpy(TWO)}, True)[1]["x"].data_ptr() != at
    loaded.rest()
    assert not kept._kept


def on_device(monkeypatch: pytest.MonkeyPatch, launcher: Callable[[Any], Any]) -> Any:
    """Triton's device executor with a launcher of PyTorch's on this CPU in place of a GPU."""
    from mkgen_triton import device
    from mkgen_triton.archs import find_arch

    monkeypatch.setattr(device, "_GPU", "cpu")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(device.OnDevice, "binaries_run", lambda self: {"k": ""})
    module = ModuleType("made")
    module.run = launcher  # type: ignore[attr-defined]
    return device.OnDevice(steps(), module, None, find_arch("sm_90"))


def beside(tensor: torch.Tensor, place: int) -> torch.Tensor:
    """One element at `place` of the memory that `tensor` begins in."""
    return torch.as_strided(tensor, (1,), (1,), tensor.storage_offset() + place)


def test_tritons_tensors_on_a_device_have_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []

    def launcher(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        y = torch.empty((8,), dtype=torch.float32, device=x.device)
        y.copy_(x * 2)
        if x[0] == 2:
            y[0] = beside(x, 8)[0]
        if x[0] == 3:
            beside(y, 8 + 5).fill_(1)
        if x[0] == 4:
            beside(x, -2).fill_(1)
        return y

    loaded = on_device(monkeypatch, launcher)
    assert np.array_equal(loaded.run({"x": ONE})["y"], ONE * 2)
    assert np.isnan(loaded.run({"x": TWO})["y"][0])
    with pytest.raises(ExecutionError, match="out-of-bounds write after an allocation: 4 bytes"):
        loaded.run({"x": ONE * 3})
    with pytest.raises(ExecutionError, match="out-of-bounds write before 'x': 4 bytes"):
        loaded.run({"x": ONE * 4})
    assert np.array_equal(loaded.run({"x": ONE})["y"], ONE * 2), "its zones are whole again"
    assert len({x.data_ptr() for x in seen}) == 1
    assert all(x.storage_offset() * 4 == REACH for x in seen)
    assert np.array_equal(loaded.run({"x": ONE}, FENCED)["y"], ONE * 2)
    assert seen[-1].data_ptr() != seen[0].data_ptr()
    loaded.rest()
    assert not loaded._kept._kept
