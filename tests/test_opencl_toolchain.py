"""The OpenCL toolchain: driver builds and ocloc, verified, and run on a CPU device."""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

import example_programs as examples
import numpy as np
import pytest

from mkgen.codegen.backend import Executor, Loaded
from mkgen.errors import CompileError, ExecutionError, MissingError, WrongArchError
from mkgen.program import Program
from mkgen.record import EvidenceKind
from mkgen_opencl import OpenclBackend, devices, toolchain
from mkgen_simt import ocloc

BACKEND = OpenclBackend()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker of role `device` has: it sees what both others see."""
    for key, value in BACKEND.environment("device").items():
        monkeypatch.setenv(key, value)


def emulator() -> Executor:
    """The executor that runs the text on a CPU device."""
    return BACKEND.executors()[0]


def load(program: Program, directory: Path) -> Loaded:
    """Loads `program` in the emulator."""
    assert emulator().accepts(program) is None
    return emulator().load(program, None, directory)


@pytest.mark.parametrize(
    ("make", "local", "tolerance"), [(examples.softmax, 1024, 1e-7), (examples.matmul, 8448, 4e-5)]
)
def test_example_compiles_is_verified_and_is_right(make, local, tolerance, tmp_path):
    program = make("opencl", "cpu")
    artifact = BACKEND.compile(program, tmp_path)
    entry = program.launches[0].entry
    assert artifact.format == "opencl-binary"
    assert "x86-64" in artifact.checked or "PoCL" in artifact.checked
    assert artifact.resources[entry].shared_bytes == local
    assert artifact.sha == hashlib.sha256(Path(artifact.path).read_bytes()).hexdigest()
    assert len(artifact.compiler_sha) == 64

    given = examples.inputs(program)
    device = BACKEND.executors()[1]
    assert (emulator().kind, device.kind) == (EvidenceKind.EMULATED, EvidenceKind.DEVICE)
    assert device.accepts(program) is None
    for executor in (emulator(), device):
        (result,) = executor.load(program, artifact, tmp_path).run(given).values()
        assert np.abs(result - examples.expected(given)).max() < tolerance
    assert device.ran_on().arch == "cpu"


def test_a_gpu_target_needs_its_gpu(tmp_path):
    program = examples.softmax("opencl", "pvc")
    assert emulator().accepts(program) is None
    reason = BACKEND.executors()[1].accepts(program)
    assert "no OpenCL device of arch pvc" in (reason or "")


def test_compile_error_carries_log_and_line(tmp_path):
    program = examples.scale("opencl", "cpu", "y[i] = undefined_name;")
    with pytest.raises(CompileError, match="undeclared identifier 'undefined_name'") as caught:
        BACKEND.compile(program, tmp_path)
    assert "4:10: error" in caught.value.log


def test_kernel_that_the_text_lacks_is_refused(tmp_path):
    program = examples.scale("opencl", "cpu", "y[i] = x[i];")
    launch = program.launches[0].model_copy(update={"entry": "other_kernel"})
    with pytest.raises(CompileError, match="no kernel other_kernel"):
        BACKEND.compile(program.model_copy(update={"steps": (launch,)}), tmp_path)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("y[i == 255 ? 256 : i] = x[i];", "0 bytes behind the end of buffer 'y'"),
        ("y[i - 1] = x[i];", "4 bytes before buffer 'y'"),
        ("y[i] = x[i]; x[3] = 1.0f;", "changed its input 'x': first at byte 12"),
    ],
)
def test_writes_where_none_belong_are_seen(statement, message, tmp_path):
    program = examples.scale("opencl", "cpu", statement)
    with pytest.raises(ExecutionError, match=message):
        load(program, tmp_path).run(examples.inputs(program))


def test_what_no_kernel_writes_stays_poison(tmp_path):
    program = examples.scale("opencl", "cpu", "if (i % 2) y[i] = x[i];")
    y = load(program, tmp_path).run(examples.inputs(program))["y"]
    assert np.isnan(y[::2]).all() and not np.isnan(y[1::2]).any()


def test_a_read_out_of_bounds_shows_as_nan(tmp_path):
    program = examples.scale("opencl", "cpu", "y[i] = x[i + 1];")
    y = load(program, tmp_path).run(examples.inputs(program))["y"]
    assert np.isnan(y[255]) and not np.isnan(y[:255]).any()


def test_repeat_advances_and_time_counts_samples(tmp_path):
    program = examples.scale("opencl", "cpu", "y[i] += x[i];", repeat=3)
    loaded = load(program, tmp_path)
    given = examples.inputs(program)
    np.testing.assert_allclose(loaded.run(given)["y"], given["x"].sum(axis=0), atol=1e-6)
    seconds = loaded.time(given, 2)
    assert len(seconds) == 2 and min(seconds) > 0


def test_launch_the_device_refuses_says_why(tmp_path):
    program = examples.softmax("opencl", "cpu")
    launch = program.launches[0]
    simt = launch.configuration.model_copy(update={"block": (128, 1, 1)})
    launch = launch.model_copy(update={"configuration": simt})
    program = program.model_copy(update={"steps": (launch,)})
    with pytest.raises(ExecutionError, match=r"\(128, 1, 1\).*INVALID_WORK_GROUP_SIZE"):
        load(program, tmp_path).run(examples.inputs(program))


def test_division_is_correctly_rounded(tmp_path):
    program = examples.scale("opencl", "cpu", "y[i] = 1.0f / x[i];")
    given = examples.inputs(program)
    y = load(program, tmp_path).run(given)["y"]
    np.testing.assert_array_equal(y, np.float32(1) / given["x"])


def test_a_binary_for_something_else_is_refused():
    ptx = b"//\n.version 8.5\n.target sm_80\n.address_size 64\n"
    assert devices.check_binary(ptx, "sm_80") == "PTX .target sm_80"
    for binary, arch in ((ptx, "sm_90"), (b"\x7fELF" + bytes(60), "cpu"), (b"", "pvc")):
        with pytest.raises(WrongArchError):
            devices.check_binary(binary, arch)


def test_without_a_toolchain_the_remedy_is_named(monkeypatch, tmp_path):
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "pyopencl", None)
    monkeypatch.setattr(ocloc.shutil, "which", lambda name: None)
    monkeypatch.setattr(toolchain, "_SYSTEM_VENDORS", tmp_path)
    monkeypatch.setattr(toolchain, "_NVIDIA_VERSION", tmp_path / "version")
    toolchain.cpu_driver.cache_clear()
    try:
        with pytest.raises(MissingError, match=r"pip install 'mkgen\[opencl\]'"):
            BACKEND.compile(examples.softmax("opencl", "pvc"), tmp_path)
        with pytest.raises(MissingError, match="pip install"):
            BACKEND.compiler_identity()
        reason = emulator().accepts(examples.softmax("opencl", "cpu"))
        assert "pip install" in (reason or "")
        probe = BACKEND.probe()
        assert probe.generate.ok and not probe.compile.ok and not probe.execute.ok
        assert probe.compile.remedy and probe.compile.reason and probe.execute.tried
        assert not probe.measure.ok
    finally:
        toolchain.cpu_driver.cache_clear()


def test_probe_never_raises(monkeypatch):
    def broken(name: str) -> str:
        raise OSError("unreadable")

    monkeypatch.setattr(toolchain, "cpu_driver", lambda: broken(""))
    probe = BACKEND.probe()
    assert "unreadable" in probe.compile.reason + probe.execute.reason


def test_drivers_without_a_registered_icd_are_offered_to_the_loader():
    named = {p.read_text().strip() for p in toolchain.vendors_directory().glob("*.icd")}
    assert sum("libnvidia-opencl" in name for name in named) == 1
    cpu = toolchain.cpu_driver().path
    assert cpu is None or str(cpu) in named


@pytest.mark.skipif(ocloc.ocloc_path() is None, reason="ocloc is optional and not on PATH")
def test_ocloc_compiles_for_an_intel_gpu_and_reports_errors(tmp_path):
    artifact = BACKEND.compile(examples.matmul("opencl", "pvc"), tmp_path)
    found = artifact.resources["matmul_kernel"]
    assert (artifact.format, found.shared_bytes, found.spill_bytes) == ("intel", 8448, 0)
    assert found.simd_width in (16, 32)
    broken = examples.scale("opencl", "pvc", "y[i] = undefined_name;")
    with pytest.raises(CompileError, match="undefined_name") as caught:
        BACKEND.compile(broken, tmp_path)
    assert "4:10: error" in caught.value.log


def test_host_launchers_compile(tmp_path):
    """The C launchers, against the OpenCL headers of the SYCL wheel or of the system."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "a C compiler is needed to check the launchers"
    for name in ("softmax", "matmul"):
        command = [
            compiler, "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
            f"-I{Path(sys.prefix) / 'include'}", str(examples.NOTES / "opencl" / f"{name}.c"),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
