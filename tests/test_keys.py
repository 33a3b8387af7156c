"""Keys of caches and the basis of records hold all that changes what comes out."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from evaluate_support import TASK, FakeCandidate, make_settings

from mkgen.codegen.backend import Backend
from mkgen.codegen.registry import backend_named
from mkgen.evaluate import basis
from mkgen.evaluate.cache import compile_key, variables
from mkgen.program import Source
from mkgen_opencl import toolchain as opencl_toolchain
from mkgen_simt import build


def key(backend: Backend) -> str:
    program = FakeCandidate().program(TASK.workloads()[0])
    return compile_key(program, backend, "fakec 1")


@pytest.mark.parametrize(
    ("backend", "name", "counts"),
    [
        ("pallas", "XLA_FLAGS", True), ("triton", "TRITON_PTXAS_PATH", True),
        ("pallas", "LIBTPU_INIT_ARGS", True), ("cuda", "CUDA_PATH", True),
        ("hip", "HIP_PATH", True), ("sycl", "ONEAPI_DEVICE_SELECTOR", True),
        ("opencl", "OCL_ICD_FILENAMES", True), ("cuda", "XLA_FLAGS", False),
        ("cuda", "CUDA_VISIBLE_DEVICES", False), ("triton", "TRITON_CACHE_DIR", False),
        ("pallas", "MKGEN_CACHE", False), ("pallas", "OMP_NUM_THREADS", False),
        ("pallas", "UNRELATED", False),
    ],
)  # fmt: skip
def test_options_in_variables_are_part_of_the_key(monkeypatch, backend, name, counts):
    """Those that reach the backend's workers; other backends' do not, and decide nothing there."""
    made = backend_named(backend)
    monkeypatch.delenv(name, raising=False)
    before = key(made)
    monkeypatch.setenv(name, "something")
    assert (key(made) != before) == counts


def test_what_a_backend_sets_itself_is_not_the_users(monkeypatch):
    """It comes with the backend's code, and may hold places of this machine."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert "TRITON_INTERPRET" not in variables(backend_named("triton"))


def test_the_settings_that_decide_a_verdict_are_part_of_the_basis():
    plain = make_settings()
    changes = {
        "emulate": False, "device": True, "samples": 3, "sanitize": True,
        "heldout_schedules": True, "run_timeout": 1.0, "own_run_timeout": 1.0,
        "compile_timeout": 1.0,
    }  # fmt: skip
    found = {basis._settings(make_settings(**{k: v})) for k, v in changes.items()}
    assert len(found | {basis._settings(plain)}) == len(changes) + 1


def test_a_library_is_known_by_its_files_and_not_by_its_version(monkeypatch):
    class Build:
        version = "2.9.0"
        record = "torch/lib/libtorch.so,sha256=one,1"

        def read_text(self, name: str) -> str:
            assert name == "RECORD"
            return self.record

    monkeypatch.setattr(basis, "distribution", lambda name: Build())
    first = basis._version("torch")
    monkeypatch.setattr(Build, "record", "torch/lib/libtorch.so,sha256=two,1")
    assert basis._version("torch") != first


def test_a_driver_that_compiles_for_this_cpu_is_keyed_by_it(monkeypatch):
    here = opencl_toolchain.compiler_identity()
    monkeypatch.setattr(opencl_toolchain, "cpu_features", lambda: "another CPU's")
    assert opencl_toolchain.compiler_identity() != here


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """A C++ compiler that makes a file of what reaches it; its compiler proper is another file."""
    driver, proper = tmp_path / "g++", tmp_path / "cc1plus"
    proper.write_text("one")
    driver.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        "  --version) echo 'g++ 14.2.0';;\n"
        f"  -print-prog-name=cc1plus) echo {proper};;\n"
        '  *) env > env.txt; while [ "$1" != -o ]; do shift; done; cat '
        + str(proper)
        + ' > "$2";;\n'
        "esac\n"
    )
    driver.chmod(driver.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(build, "_zig", lambda: None)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("MKGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "on_path", _only(build.on_path))
    build.find_compiler.cache_clear()
    yield tmp_path
    build.find_compiler.cache_clear()


def _only(search):
    return lambda name: search(name) if name == "g++" else None


def test_the_host_build_is_keyed_by_the_compiler_proper_and_takes_no_orders(compiler, monkeypatch):
    source = Source(name="k.cu", language="cuda", head="", sizes="", body="int x;")

    def built() -> Path:
        return build.build(source, "f", ("-DX",))

    monkeypatch.setenv("CPATH", "/somewhere/else")
    monkeypatch.setenv("GCC_EXEC_PREFIX", "/somewhere/else")
    first = built()
    assert built() == first
    told = (first.parent / "env.txt").read_text()
    assert "/somewhere/else" not in told and "PATH=" in told
    (compiler / "cc1plus").write_text("two")  # the driver and its version are as they were
    build.find_compiler.cache_clear()
    second = built()
    assert second != first
    assert second.read_text() == "two"
