"""CUDA: NVRTC's cubins hold the arch asked for, and say what they use."""

from __future__ import annotations

import builtins
import importlib.metadata
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gpu_programs import SPILLING, program

from mkgen.codegen.backend import Found
from mkgen.errors import CompileError, ExecutionError, MissingError, WrongArchError
from mkgen.program import Buffer, BufferRole, Glue, Launch, Program, Repeat, Simt
from mkgen_cuda import CudaBackend
from mkgen_simt import cuda_headers, cupy_device, nvrtc
from mkgen_simt.cubin import check_cubin, ptxas_resources
from mkgen_simt.cuda_headers import CUDA_HEADERS
from mkgen_simt.cupy_device import capability_refuses
from mkgen_simt.device_run import GpuLoaded, GpuRuntime, refuse_steps

BACKEND = CudaBackend()


@pytest.mark.parametrize("arch", BACKEND.archs)
def test_each_arch_builds_and_is_verified(arch: str, tmp_path: Path) -> None:
    artifact = BACKEND.compile(program(f"cuda:{arch}", shared=1024), tmp_path)
    assert artifact.arch == arch
    assert artifact.checked.endswith(f": {arch}")
    used = artifact.resources["softmax_kernel"]
    assert used.registers is not None and 10 <= used.registers <= 64
    assert (used.spill_bytes, used.stack_bytes) == (0, 0)
    # One array of 8 floats for each of the two instances of reduce_block, and what the launch asks.
    assert used.shared_bytes is not None and used.shared_bytes >= 1024 + 2 * 8 * 4
    assert used.code_bytes is not None and used.code_bytes > 256
    assert str(tmp_path) not in artifact.command
    ptx = (tmp_path / f"softmax.{arch}.ptx").read_bytes()
    assert b"\0" not in ptx and f".target {arch}".encode() in ptx


def test_regenerating_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = (BACKEND.compile(program("cuda:sm_90"), tmp_path / d) for d in "ab")
    assert one.sha == two.sha


class Caching:
    """The real NVRTC on a machine with a driver: what it has compiled before comes with no log."""

    def __init__(self, version: tuple[int, int]) -> None:
        from cuda.bindings import nvrtc as real

        self._real, self._version = real, version
        self._compiled: set[tuple[bytes, ...]] = set()
        self._cached = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def nvrtcVersion(self) -> tuple[Any, int, int]:  # noqa: N802  (as NVRTC calls it)
        return self._real.nvrtcResult.NVRTC_SUCCESS, *self._version

    def nvrtcCompileProgram(self, made: Any, count: int, options: list[bytes]) -> Any:  # noqa: N802  (as NVRTC calls it)
        plain = tuple(o for o in options if o != b"--no-cache")
        if self._version < (12, 9):
            assert len(plain) == count, "an older one does not know the option"
        elif len(plain) == count:
            self._cached = plain in self._compiled
            self._compiled.add(plain)
        return self._real.nvrtcCompileProgram(made, count, options)

    def nvrtcGetProgramLogSize(self, made: Any) -> Any:  # noqa: N802  (as NVRTC calls it)
        told = self._real.nvrtcGetProgramLogSize(made)
        return (told[0], 1) if self._cached else told

    def nvrtcGetProgramLog(self, made: Any, buffer: bytes) -> Any:  # noqa: N802  (as NVRTC calls it)
        if self._cached:
            return (self._real.nvrtcResult.NVRTC_SUCCESS,)  # what is there is the NUL already
        return self._real.nvrtcGetProgramLog(made, buffer)


@pytest.mark.parametrize("version", [(12, 8), (12, 9), (13, 5)])
def test_the_same_text_is_compiled_again_and_not_taken_from_a_cache(
    version: tuple[int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in = Caching(version)
    monkeypatch.setattr(nvrtc, "_nvrtc", lambda remedy: stand_in)
    with_lines = ("--generate-line-info",)
    once, again = (
        nvrtc.compile_cubin(program("cuda:sm_90a"), tmp_path / d, CUDA_HEADERS, "", with_lines)
        for d in "ab"
    )
    assert once.sha == again.sha and once.resources == again.resources
    assert ("--no-cache" in once.command) == (version >= (12, 9))


def test_an_empty_log_is_read_without_writing_to_what_python_shares() -> None:
    class Empty:
        def nvrtcGetProgramLogSize(self, made: object) -> tuple[Any, int]:  # noqa: N802  (as NVRTC calls it)
            return SimpleNamespace(value=0), 1

        def nvrtcGetProgramLog(self, made: object, buffer: bytes) -> tuple[Any]:  # noqa: N802  (as NVRTC calls it)
            assert len(buffer) > 1, "Python has one object for all bytes of this length"
            return (SimpleNamespace(value=0),)

    assert nvrtc._bytes(Empty(), "ProgramLog", None) == b"\0"


@pytest.mark.parametrize(
    ("built", "asked"),
    [("sm_80", "sm_90"), ("sm_90", "sm_90a"), ("sm_90a", "sm_90"), ("sm_100", "sm_120")],
)
def test_a_planted_wrong_arch_is_seen(built: str, asked: str, tmp_path: Path) -> None:
    artifact = BACKEND.compile(program(f"cuda:{built}"), tmp_path)
    with pytest.raises(WrongArchError, match=rf"{asked}.*{built}"):
        check_cubin(Path(artifact.path).read_bytes(), asked)


def test_a_file_of_another_kind_is_a_wrong_arch() -> None:
    with pytest.raises(WrongArchError, match="EM_CUDA"):
        check_cubin(Path("/bin/sh").resolve().read_bytes(), "sm_90")
    with pytest.raises(WrongArchError, match="not an ELF file"):
        check_cubin(b".version 9.0", "sm_90")


def test_a_compile_error_carries_the_log_with_the_users_line(tmp_path: Path) -> None:
    body = 'extern "C" __global__ void softmax_kernel(const float* x, float* y) {\n  y[0] = q;\n}\n'
    with pytest.raises(CompileError, match=r"softmax\.cu\(5\): error") as error:
        BACKEND.compile(program("cuda:sm_90", body), tmp_path)
    assert 'identifier "q" is undefined' in error.value.log


def test_a_mangled_kernel_name_is_refused_with_the_remedy(tmp_path: Path) -> None:
    body = "__global__ void softmax_kernel(const float* x, float* y) { y[0] = x[0]; }\n"
    with pytest.raises(CompileError, match='extern "C"'):
        BACKEND.compile(program("cuda:sm_90", body), tmp_path)


def test_spills_are_seen(tmp_path: Path) -> None:
    artifact = BACKEND.compile(program("cuda:sm_80", SPILLING), tmp_path)
    used = artifact.resources["softmax_kernel"]
    assert used.spill_bytes is not None and used.spill_bytes > 0
    assert used.stack_bytes is not None and used.stack_bytes > 0


def test_division_and_square_root_are_correctly_rounded(tmp_path: Path) -> None:
    body = (
        'extern "C" __global__ void softmax_kernel(const float* x, float* y) '
        "{ y[0] = x[0] / sqrtf(x[1]); }\n"
    )
    BACKEND.compile(program("cuda:sm_90", body), tmp_path)
    ptx = (tmp_path / "softmax.sm_90.ptx").read_text()
    assert "div.rn.f32" in ptx and "sqrt.rn.f32" in ptx and ".ftz" not in ptx


def test_half_types_and_host_names(tmp_path: Path) -> None:
    if cuda_headers.cuda_include().path is None:
        pytest.fail("no cuda_fp16.h: the cuda extra must install nvidia-cuda-runtime")
    body = """constexpr float LOW = -INFINITY;
extern "C" __global__ void softmax_kernel(const float* x, float* y) {
  const __half h = __float2half(x[0]);
  const __nv_bfloat16 b = __float2bfloat16(x[1]);
  const int64_t i = INT_MAX; const uint32_t u = 3; const size_t s = 4;
  y[0] = __half2float(h * h) + __bfloat162float(b * b) + LOW + i + u + s + FLT_MAX;
}
"""
    headers = "#include <cuda_fp16.h>\n#include <cuda_bf16.h>\n#include <cstdint>\n"
    for arch in ("sm_80", "sm_90a", "sm_100"):
        BACKEND.compile(program(f"cuda:{arch}", body, headers), tmp_path)


def test_missing_cuda_headers_name_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvrtc, "cuda_include", lambda: Found(None, ["nowhere"]))
    with pytest.raises(CompileError, match="nvidia-cuda-runtime.*nowhere"):
        BACKEND.compile(program("cuda:sm_90", None, "#include <cuda_fp16.h>\n"), tmp_path)


def test_no_toolchain_is_missing_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def absent(name: str, *args: object, **kwargs: object) -> object:
        if name.startswith("cuda"):
            raise ImportError("No module named 'cuda'")
        return real(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingError, match=r"pip install mkgen\[cuda\]"):
        BACKEND.compile(program("cuda:sm_90"), tmp_path)
    with pytest.raises(MissingError, match=r"pip install mkgen\[cuda\]"):
        BACKEND.compiler_identity()


def test_probe_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    assert BACKEND.probe().compile.ok

    def none(package: str) -> str:
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", none)
    compile_ = BACKEND.probe().compile
    assert not compile_.ok and compile_.reason and compile_.tried
    assert compile_.remedy == "pip install mkgen[cuda]"


def test_ptxas_log_of_two_kernels() -> None:
    log = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'a' for 'sm_90a'
ptxas info    : Function properties for a
ptxas         .     352 bytes stack frame, 440 bytes spill stores, 436 bytes spill loads
ptxas info    : Used 32 registers, used 1 barriers, 352 bytes cumulative stack size
ptxas info    : Compiling entry function 'b' for 'sm_90a'
ptxas info    : Function properties for b
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 10 registers, used 1 barriers, 400 bytes smem
"""
    found = ptxas_resources(log)
    assert (found["a"].registers, found["a"].spill_bytes, found["a"].stack_bytes) == (32, 440, 352)
    assert (found["b"].registers, found["b"].spill_bytes, found["b"].shared_bytes) == (10, 0, 400)


@pytest.mark.parametrize(
    ("arch", "capability", "runs"),
    [
        ("sm_90a", (9, 0), True),
        ("sm_90a", (10, 0), False),
        ("sm_80", (8, 9), True),
        ("sm_89", (8, 0), False),
        ("sm_80", (9, 0), False),
        ("sm_100a", (10, 0), True),
        ("sm_100a", (10, 3), False),
        ("sm_100", (10, 3), True),
        ("sm_120", (12, 0), True),
    ],
)
def test_which_gpu_runs_which_cubin(arch: str, capability: tuple[int, int], runs: bool) -> None:
    assert (capability_refuses(arch, capability) is None) is runs


class MemoryRuntime(GpuRuntime):
    """A GPU of numpy arrays whose one kernel adds 1 to its last argument from its first."""

    def __init__(self) -> None:
        self.last_level_cache = 64
        self.memory: dict[int, np.ndarray] = {}
        self.freed: list[int] = []
        self.fail = self.lost = False

    def allocate(self, size: int) -> int:
        pointer = (len(self.memory) + 1) << 32
        self.memory[pointer] = np.zeros(size, np.uint8)
        return pointer

    def free(self, pointer: int) -> None:
        if self.lost:
            raise ExecutionError("the context is lost")
        self.freed.append(pointer)

    def upload(self, pointer: int, data: np.ndarray) -> None:
        self.at(pointer)[: data.nbytes] = data.view(np.uint8)

    def download(self, pointer: int, data: np.ndarray) -> None:
        data.view(np.uint8)[:] = self.at(pointer)[: data.nbytes]

    def fill(self, pointer: int, size: int, byte: int = 0) -> None:
        self.memory[pointer][:size] = byte

    def copy(self, pointer: int, source: int, size: int) -> None:
        self.at(pointer)[:size] = self.at(source)[:size]

    def at(self, pointer: int) -> np.ndarray:
        base = pointer >> 32 << 32
        return self.memory[base][pointer - base :]

    def launch(self, entry: str, configuration: Simt, pointers: list[int]) -> None:
        if self.fail:
            raise ExecutionError("an illegal memory access")
        source, target = (self.element(pointer) for pointer in pointers)
        target[0] = source[0] + 1

    def element(self, pointer: int) -> np.ndarray:
        return self.at(pointer)[:4].view(np.float32)

    def synchronize(self) -> None:
        pass

    def wait_for_device(self) -> None:
        pass

    def timed(self, before: object, work: object) -> float:
        before(), work()  # type: ignore[operator]
        return 1.0

    def close(self) -> None:
        pass


def recurrence() -> Program:
    """h <- h + 1 three times between two buffers, and one store a round along `out`."""

    def launch(source: str, target: str) -> Launch:
        return Launch(
            source="softmax.cu",
            entry="k",
            args=(source, target),
            reads=(source,),
            writes=(target,),
            configuration=Simt(grid=(1, 1, 1), block=(1, 1, 1)),
        )

    repeat = Repeat(
        count=3,
        steps=(launch("h", "next"), launch("next", "out")),
        swaps=(("h", "next"),),
        advance={"out": 1},
    )
    return program("cuda:sm_90").model_copy(
        update={
            "buffers": (
                Buffer(name="h", dtype="float32", shape=(1,), role=BufferRole.STATE),
                Buffer(name="out", dtype="float32", shape=(4,), role=BufferRole.OUTPUT),
                Buffer(name="next", dtype="float32", shape=(1,), role=BufferRole.TEMPORARY),
            ),
            "steps": (repeat,),
        }
    )


def test_repeat_swaps_and_advances_and_outputs_are_poisoned() -> None:
    runtime = MemoryRuntime()
    loaded = GpuLoaded(recurrence(), runtime)
    inputs = {"h": np.array([10], np.float32)}
    outputs = loaded.run(inputs)
    np.testing.assert_array_equal(outputs["out"], np.array([12, 13, 14, np.nan], np.float32))
    assert not runtime.freed  # the next run finds other values at the same addresses
    loaded.rest()
    assert sorted(runtime.freed) == sorted(runtime.memory)
    assert loaded.time(inputs, 5) == [1.0] * 5
    assert sorted(runtime.freed) == sorted(runtime.memory)


def test_every_timed_call_starts_from_the_same_state_and_its_outputs_are_kept() -> None:
    runtime = MemoryRuntime()
    timer = GpuLoaded(recurrence(), runtime).timer({"h": np.array([10], np.float32)}, 4096)
    timer.warm()
    for call in (timer.queued, timer.bracketed):
        call()
        outputs = timer.outputs()["out"]
        np.testing.assert_array_equal(outputs, np.array([12, 13, 14, np.nan], np.float32))
    assert timer.kernels() == ("k", "k")
    timer.close()
    assert sorted(runtime.freed) == sorted(runtime.memory)


def test_device_memory_is_freed_when_a_kernel_fails() -> None:
    runtime = MemoryRuntime()
    runtime.fail = True
    with pytest.raises(ExecutionError, match="illegal"):
        GpuLoaded(recurrence(), runtime).run({"h": np.zeros(1, np.float32)})
    assert sorted(runtime.freed) == sorted(runtime.memory)


def test_the_first_error_tells_when_the_device_is_lost() -> None:
    runtime = MemoryRuntime()
    runtime.fail = runtime.lost = True
    with pytest.raises(ExecutionError, match="illegal") as error:
        GpuLoaded(recurrence(), runtime).run({"h": np.zeros(1, np.float32)})
    assert error.value.__notes__ == ["then, the context is lost"]


def test_wrong_inputs_are_named() -> None:
    loaded = GpuLoaded(recurrence(), MemoryRuntime())
    with pytest.raises(ExecutionError, match="no value was given for state 'h'"):
        loaded.run({})
    with pytest.raises(ExecutionError, match=r"h must be float32\[1\], got float64\[1\]"):
        loaded.run({"h": np.zeros(1)})


def test_glue_is_refused() -> None:
    glue = Glue(op="pad", input="x", output="y")
    assert "pad" in (refuse_steps(recurrence().model_copy(update={"steps": (glue,)})) or "")


def test_the_device_executor_refuses_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    from mkgen_cuda.device import CudaDeviceExecutor

    executor = CudaDeviceExecutor()
    monkeypatch.setitem(sys.modules, "cupy", None)
    cupy_device._device.cache_clear()
    assert "pip install cupy" in (executor.accepts(program("cuda:sm_90")) or "")
    assert "not for an NVIDIA GPU" in (executor.accepts(program("hip:gfx942")) or "")
