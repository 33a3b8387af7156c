"""The SYCL toolchain: compile to SPIR-V, verify it, run it on the CPU device."""

from __future__ import annotations

import hashlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import example_programs as examples
import numpy as np
import pytest

from mkgen.codegen.backend import Loaded
from mkgen.errors import CompileError, ExecutionError, MissingError, WrongArchError
from mkgen.program import Program
from mkgen.record import EvidenceKind
from mkgen_simt import ocloc
from mkgen_sycl import SyclBackend, spirv, toolchain

BACKEND = SyclBackend()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker of role `emulate` has."""
    for key, value in BACKEND.environment("emulate").items():
        monkeypatch.setenv(key, value)


def load(program: Program, directory: Path) -> Loaded:
    """Compiles `program` and loads it in the emulator."""
    emulator = BACKEND.executors()[0]
    assert emulator.accepts(program) is None
    return emulator.load(program, BACKEND.compile(program, directory), directory)


@pytest.mark.parametrize(
    ("make", "local", "tolerance"), [(examples.softmax, 1024, 1e-7), (examples.matmul, 8448, 4e-5)]
)
def test_example_compiles_is_verified_and_is_right(make, local, tolerance, tmp_path):
    program = make("sycl", "pvc")
    artifact = BACKEND.compile(program, tmp_path)
    entry = program.launches[0].entry
    assert artifact.format == "spirv"
    assert f"OpEntryPoint Kernel __sycl_kernel_{entry}" in artifact.checked
    assert artifact.resources[entry].shared_bytes == local
    assert artifact.sha == hashlib.sha256(Path(artifact.path).read_bytes()).hexdigest()
    assert artifact.compiler_sha == hashlib.sha256(toolchain.jit_library().read_bytes()).hexdigest()

    emulator = BACKEND.executors()[0]
    assert (emulator.name, emulator.kind) == ("dpctl-cpu", EvidenceKind.EMULATED)
    given = examples.inputs(program)
    (result,) = emulator.load(program, artifact, tmp_path).run(given).values()
    assert np.abs(result - examples.expected(given)).max() < tolerance


def test_only_the_cpu_target_gets_device_evidence_from_the_cpu():
    device = BACKEND.executors()[1]
    assert device.kind is EvidenceKind.DEVICE
    assert device.accepts(examples.softmax("sycl", "cpu")) is None
    assert "not a pvc" in (device.accepts(examples.softmax("sycl", "pvc")) or "")
    gpu = BACKEND.executors()[2]
    assert "is not a GPU" in (gpu.accepts(examples.softmax("sycl", "cpu")) or "")


def test_compile_error_carries_log_and_line(tmp_path):
    program = examples.scale("sycl", "cpu", "y[i] = undefined_name;")
    with pytest.raises(CompileError, match="undeclared identifier 'undefined_name'") as caught:
        BACKEND.compile(program, tmp_path)
    assert "scale.cpp:7:10: error" in caught.value.log


def test_kernel_that_the_text_lacks_is_refused(tmp_path):
    program = examples.scale("sycl", "cpu", "y[i] = x[i];")
    launch = program.launches[0].model_copy(update={"entry": "other_kernel"})
    with pytest.raises(WrongArchError, match="__sycl_kernel_scale_kernel"):
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
    program = examples.scale("sycl", "cpu", statement)
    with pytest.raises(ExecutionError, match=message):
        load(program, tmp_path).run(examples.inputs(program))


def test_what_no_kernel_writes_stays_poison(tmp_path):
    program = examples.scale("sycl", "cpu", "if (i % 2) y[i] = x[i];")
    y = load(program, tmp_path).run(examples.inputs(program))["y"]
    assert np.isnan(y[::2]).all() and not np.isnan(y[1::2]).any()


def test_a_read_out_of_bounds_shows_as_nan(tmp_path):
    program = examples.scale("sycl", "cpu", "y[i] = x[i + 1];")
    y = load(program, tmp_path).run(examples.inputs(program))["y"]
    assert np.isnan(y[255]) and not np.isnan(y[:255]).any()


def test_repeat_advances_and_time_counts_samples(tmp_path):
    program = examples.scale("sycl", "cpu", "y[i] += x[i];", repeat=3)
    loaded = load(program, tmp_path)
    given = examples.inputs(program)
    np.testing.assert_allclose(loaded.run(given)["y"], given["x"].sum(axis=0), atol=1e-6)
    seconds = loaded.time(given, 2)
    assert len(seconds) == 2 and min(seconds) > 0


def test_launch_the_device_refuses_says_why(tmp_path):
    program = examples.scale("sycl", "cpu", "y[i % 256] = 0.0f;")
    launch = program.launches[0]
    simt = launch.configuration.model_copy(update={"block": (16384, 1, 1)})
    launch = launch.model_copy(update={"configuration": simt})
    program = program.model_copy(update={"steps": (launch,)})
    with pytest.raises(ExecutionError, match=r"\(16384, 1, 1\).*at most 8192 work-items"):
        load(program, tmp_path).run(examples.inputs(program))


def test_division_is_correctly_rounded(tmp_path):
    program = examples.scale("sycl", "cpu", "y[i] = 1.0f / x[i];")
    given = examples.inputs(program)
    y = load(program, tmp_path).run(given)["y"]
    np.testing.assert_array_equal(y, np.float32(1) / given["x"])


def test_spirv_that_is_none_is_refused():
    for data in (b"", b"\x7fELF" + bytes(60), b"\x03\x02\x23\x07" + bytes(4 * 5)):
        with pytest.raises(WrongArchError):
            spirv.parse(data)


def test_without_a_toolchain_the_remedy_is_named(monkeypatch, tmp_path):
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(ocloc.shutil, "which", lambda name: None)
    with pytest.raises(MissingError, match=r"pip install 'mkgen\[sycl\]'"):
        BACKEND.compile(examples.softmax("sycl", "pvc"), tmp_path)
    with pytest.raises(MissingError):
        BACKEND.compiler_identity()
    reason = BACKEND.executors()[0].accepts(examples.softmax("sycl", "pvc"))
    assert "dpctl" in (reason or "") and "pip install" in (reason or "")
    probe = BACKEND.probe()
    assert probe.generate.ok and not probe.compile.ok and not probe.execute.ok
    assert probe.compile.remedy and probe.compile.reason and probe.compile.tried


def test_probe_never_raises(monkeypatch):
    def broken(name: str) -> str:
        raise OSError("unreadable")

    monkeypatch.setattr(importlib.metadata, "version", broken)
    assert "unreadable" in BACKEND.probe().compile.reason


def test_unknown_release_goes_by_the_public_interface(monkeypatch, tmp_path):
    assert toolchain.unknown_release("2026.2.0") is None
    for version in ("2025.3.1", "2027.0.0", None):
        assert "pip install" in (toolchain.unknown_release(version) or "")

    program = examples.softmax("sycl", "cpu")
    known = BACKEND.compile(program, tmp_path).sha
    monkeypatch.setattr(toolchain, "KNOWN_RELEASES", ((1999, 0), (2000, 0)))
    assert BACKEND.compile(program, tmp_path).sha == known
    broken = examples.scale("sycl", "cpu", "y[i] = undefined_name;")
    with pytest.raises(CompileError, match="scale.cpp:7:10: error") as caught:
        BACKEND.compile(broken, tmp_path)
    assert "undefined_name" in caught.value.log

    monkeypatch.setattr(toolchain.rtc, "host_compiler", lambda: None)
    with pytest.raises(MissingError, match=r"binary interface.*apt install g\+\+"):
        BACKEND.compile(program, tmp_path)


def test_ocloc_resources_are_read():
    text = (
        "kernels:\n  - name:            k\n    execution_env:\n      grf_count:       128\n"
        "      simd_size:       16\n      slm_size:        4096\n    per_thread_memory_buffers:\n"
        "      - type:            scratch\n        usage:           spill_fill_space\n"
        "        size:            320\nkernels_misc_info:\n  - name:            k\n"
    )
    found = ocloc.read_ze_info(text)["k"]
    assert (found.registers, found.simd_width, found.shared_bytes) == (128, 16, 4096)
    assert found.spill_bytes == 320


@pytest.mark.skipif(ocloc.ocloc_path() is None, reason="ocloc is optional and not on PATH")
def test_with_ocloc_the_machine_code_states_its_resources(tmp_path):
    artifact = BACKEND.compile(examples.softmax("sycl", "pvc"), tmp_path)
    found = artifact.resources["softmax_kernel"]
    assert found.simd_width in (16, 32) and found.registers in (128, 256)
    assert found.shared_bytes == 1024 and found.spill_bytes == 0
    assert "EM_INTELGT" in artifact.checked


def test_host_launcher_compiles_against_the_headers(tmp_path):
    """g++ parses the host side of each example against the headers of the compiler's wheel."""
    include = Path(sys.prefix) / "include"
    for name in ("softmax", "matmul"):
        command = [
            "g++", "-std=c++17", "-fsyntax-only", "-w", f"-I{include}",
            str(examples.NOTES / "sycl" / f"{name}.cpp"),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
