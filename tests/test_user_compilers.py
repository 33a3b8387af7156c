"""--toolchain: the user's compilers, and everything that may be wrong with them."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import pytest
from cli_support import call
from compiler_wrappers import clang, nvcc, script, wrapper
from gpu_programs import program

from mkgen.codegen.external import chosen_compiler, compilers, file_sha, parts_of
from mkgen.codegen.registry import backend_named
from mkgen.errors import MissingError, UserError
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.jobs import compile_program
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.program import Artifact
from mkgen.record import Status

NO_NVCC = "no nvcc: make paste-tools installs one, or set MKGEN_NVCC"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MKGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=["hip", "cuda"])
def real(request, tmp_path) -> tuple[str, Path]:
    """Backend, and a compiler of it that is in order."""
    if request.param == "hip":
        return "hip", clang(tmp_path / "real")
    found = nvcc()
    if found is None:
        pytest.skip(NO_NVCC)
    return "cuda", found


TARGETS = {"hip": "hip:gfx90a", "cuda": "cuda:sm_90"}


def compiled(tmp_path: Path, name: str, compiler: Path, timeout: float = 120.0) -> Artifact:
    """softmax by `compiler` in a worker, with the cache that all calls of a test share."""
    backend = backend_named(name)
    with compilers({name: compiler}), Workers() as workers:
        where = CompileCache(tmp_path / "cache")
        return compile_program(workers, backend, program(TARGETS[name]), where, timeout)


def failure(tmp_path: Path, name: str, compiler: Path, timeout: float = 120.0) -> WorkerFailure:
    with pytest.raises(WorkerFailure) as caught:
        compiled(tmp_path, name, compiler, timeout)
    return caught.value


def spoilt(directory: Path, compiler: Path, fault: str) -> Path:
    """`compiler` with a fault; of clang's three steps the linker makes the artifact."""
    if compiler.name != "clang++":
        return wrapper(directory / compiler.name, compiler, fault)
    linker = compiler.parent / "ld.lld"
    spoils_the_artifact = fault in ("garbage", "empty", "truncates", "host")
    wrapper(directory / "ld.lld", linker, fault if spoils_the_artifact else 'exec $REAL "$@"')
    return wrapper(
        directory / "clang++", compiler, 'exec $REAL "$@"' if spoils_the_artifact else fault
    )


def test_the_users_compiler_compiles_and_is_on_the_record(real, tmp_path):
    name, compiler = real
    artifact = compiled(tmp_path, name, compiler)
    assert artifact.checked.endswith({"hip": "(gfx90a)", "cuda": ": sm_90"}[name])
    assert artifact.command.startswith(compiler.name)
    assert str(tmp_path) not in artifact.command
    used = artifact.resources["softmax_kernel"]
    assert used.registers and used.code_bytes and used.shared_bytes and used.spill_bytes == 0
    again = compiled(tmp_path, name, compiler)
    assert again.seconds == artifact.seconds, "the second one comes from the cache"


@pytest.mark.parametrize(
    ("fault", "status", "told"),
    [
        ("segfault", Status.COMPILE_FAILED, "SIGSEGV"),
        ("abort", Status.COMPILE_FAILED, "SIGABRT"),
        ("exit", Status.COMPILE_FAILED, "out of luck"),
        ("silent", Status.COMPILE_FAILED, "exit status 1"),
        ("nothing", Status.COMPILE_FAILED, "is not there"),
        ("hang", Status.TIMED_OUT, "took more than"),
        ("garbage", Status.WRONG_ARCH, "not an ELF file"),
        ("empty", Status.COMPILE_FAILED, "is empty"),
        ("deletes", Status.COMPILE_FAILED, "is not there"),
        ("truncates", Status.WRONG_ARCH, "damaged"),
        ("host", Status.WRONG_ARCH, "another kind of processor"),
    ],
)
def test_a_compiler_that_is_wrong_is_seen(real, tmp_path, fault, status, told):
    name, compiler = real
    started = time.monotonic()
    bad = spoilt(tmp_path / "bad", compiler, fault)
    seen = failure(tmp_path, name, bad, timeout=15.0 if fault == "hang" else 120.0)
    assert seen.status is status, seen.message
    assert told in seen.message
    assert time.monotonic() - started < 100
    # the failure is no compiler's but this one's
    assert compiled(tmp_path, name, compiler).resources


def test_warnings_do_not_spoil_what_the_log_says(real, tmp_path):
    name, compiler = real
    noisy = spoilt(tmp_path / "noisy", compiler, "warns")
    plain, loud = compiled(tmp_path, name, compiler), compiled(tmp_path, name, noisy)
    assert loud.resources == plain.resources
    assert loud.compiler == plain.compiler
    assert loud.compiler_sha != plain.compiler_sha


def test_another_arch_is_seen(real, tmp_path):
    name, compiler = real
    asked, given = {"hip": ("gfx90a", "gfx942"), "cuda": ("sm_90", "sm_80")}[name]
    change = (
        f'args=; for word in "$@"; do case "$word" in -arch=* | --offload-arch=* | -mcpu=*) '
        f'word=$(echo "$word" | sed s/{asked}/{given}/);; esac; args="$args $word"; done; '
        "exec $REAL $args"
    )
    seen = failure(tmp_path, name, spoilt(tmp_path / "bad", compiler, change))
    assert seen.status is Status.WRONG_ARCH
    assert f"asked for {asked}, got a c" in seen.message and given in seen.message


def test_same_version_text_new_binary_compiles_again(real, tmp_path):
    """Also where the path is the same: a nightly build is put in the place of yesterday's."""
    name, compiler = real
    path = tmp_path / "nightly" / compiler.name
    text = f'exec {compiler} "$@"'
    script(path, text)
    if name == "hip":
        script(path.parent / "ld.lld", f'exec {compiler.parent / "ld.lld"} "$@"')
    first = compiled(tmp_path, name, path)
    assert compiled(tmp_path, name, path).seconds == first.seconds
    script(path, f"# build 2\n{text}")
    second = compiled(tmp_path, name, path)
    assert second.seconds != first.seconds, "a stale hit"
    assert second.compiler == first.compiler
    assert second.compiler_sha != first.compiler_sha


def test_what_a_wrapper_runs_counts_too(tmp_path):
    inner = script(tmp_path / "inner", "exec /bin/true")
    outer = script(tmp_path / "outer", f"# a wrapper\nexec {inner} $@")
    assert {inner, outer} <= set(parts_of(outer))
    before = [file_sha(part) for part in parts_of(outer)]
    script(inner, "exec /bin/false")
    assert before != [file_sha(part) for part in parts_of(outer)]
    assert file_sha(inner) == hashlib.sha256(inner.read_bytes()).hexdigest()


def test_a_compiler_replaced_during_the_run_stores_nothing(real, tmp_path):
    name, compiler = real
    path = tmp_path / "moving" / compiler.name
    text = f'exec {compiler} "$@"'
    script(path, text)
    if name == "hip":
        script(path.parent / "ld.lld", f'exec {compiler.parent / "ld.lld"} "$@"')
    backend = backend_named(name)
    where = CompileCache(tmp_path / "cache")
    with compilers({name: path}), Workers() as workers:
        compile_program(workers, backend, program(TARGETS[name]), where, 120.0)
        script(path, f"# build 2\n{text}")
        other = program(TARGETS[name], shared=64)
        with pytest.raises(WorkerFailure, match="replaced while the run went on") as caught:
            compile_program(workers, backend, other, where, 120.0)
    assert caught.value.status is Status.NO_TOOLCHAIN


@pytest.mark.parametrize(
    ("given", "code", "told"),
    [
        ("hip", 2, "BACKEND=PATH"),
        ("hip=", 2, "BACKEND=PATH"),
        ("hpi=/bin/true", 2, "Did you mean 'hip'?"),
        ("triton=/bin/true", 2, "no compiler of its own choice"),
        ("hip=/nowhere/hipcc", 2, "does not exist"),
        ("hip=/bin", 2, "is no file"),
        ("hip=README", 2, "cannot be executed; chmod +x"),
        ("hip=/bin/true", 3, "neither hipcc nor clang"),
        ("hip=crash", 3, "it crashed: SIGSEGV"),
        ("hip=broken", 3, "cannot be started"),
    ],
)
def test_what_is_no_compiler_is_refused(capfd, tmp_path, given, code, told):
    (tmp_path / "README").write_text("not a program\n")
    script(tmp_path / "crash", "kill -SEGV $$")
    (tmp_path / "broken").write_bytes(b"\x7fELF nothing that runs")
    (tmp_path / "broken").chmod(0o755)
    done = call(capfd, "gen", "--task", "relu", "--backend", "hip", "--toolchain", given)
    assert (done.code, told in done.err) == (code, True), done.err
    assert chosen_compiler("hip") is None, "the choice ends with the command"


@pytest.mark.parametrize(
    ("target", "compiler", "told"),
    [("cuda", "/bin/true", "is no nvcc"), ("sycl", "/bin/true", "is no DPC++ compiler"),
     ("opencl:pvc", "/bin/true", "is no ocloc")],
)  # fmt: skip
def test_other_kinds_are_known_by_what_they_say(capfd, target, compiler, told):
    option = "--target" if ":" in target else "--backend"
    choice = f"{target.partition(':')[0]}={compiler}"
    done = call(capfd, "gen", "--task", "relu", option, target, "--toolchain", choice)
    assert (done.code, told in done.err) == (3, True), done.err


def test_the_choice_is_taken_back(tmp_path, monkeypatch):
    with compilers({"hip": tmp_path / "one"}):
        assert chosen_compiler("hip") == tmp_path / "one"
        with compilers({"hip": tmp_path / "two"}):
            assert chosen_compiler("hip") == tmp_path / "two"
        assert chosen_compiler("hip") == tmp_path / "one"
    assert chosen_compiler("hip") is None
    with pytest.raises(MissingError):
        file_sha(tmp_path / "gone")
    assert issubclass(UserError, Exception)


def test_a_spilling_compiler_is_worse_than_the_baseline(capfd, tmp_path):
    """The same text by a compiler that gives each thread 24 registers."""
    good = nvcc()
    if good is None:
        pytest.skip(NO_NVCC)
    task = ("eval", "--task", "matmul", "--target", "cuda:sm_90", "--json")
    assert call(capfd, *task, "--toolchain", f"cuda={good}", "--out", "good").code == 0
    # -maxrregcount gives way to __launch_bounds__, so the wrapper takes that away
    fewer = "sed -i 's/__launch_bounds__([A-Z_]*)/__maxnreg__(24)/' *.cu"
    tight = wrapper(tmp_path / "tight/nvcc", good, f'{fewer}; exec $REAL "$@"')
    compare = ("--out", "tight-run", "--baseline", "good")
    done = call(capfd, *task, "--toolchain", f"cuda={tight}", *compare)
    kinds = {c["kind"]: c for c in done.document["changes"]}
    assert done.code == 1, done.err
    assert kinds["spilling"]["regression"] and "bytes per thread before" in done.err
    assert "but another binary" in kinds["compiler"]["told"]
    record = json.loads(Path("tight-run/records.jsonl").read_text())
    assert any(r["spill_bytes"] for r in record["artifacts"][0]["resources"].values())
