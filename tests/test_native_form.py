"""Kernels that others wrote in the native form: heads, texts, and the whole protocol."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import call
from module_support import SOFTMAX as SMALL
from module_support import judge

from mkgen.codegen.registry import backend_named
from mkgen.errors import UserError
from mkgen.evaluate.pool import Workers
from mkgen.foreign.native import (
    MAX_FILE_BYTES,
    MAX_HEAD_BYTES,
    holds_native,
    parse_native,
    read_native,
)
from mkgen.foreign.native_program import SourceCandidate, source_candidate
from mkgen.program import BufferRole, Program, Simt, TritonLaunch
from mkgen.record import EvidenceKind, Status
from mkgen.target import Target
from mkgen.task import find_task

DATA = Path(__file__).parent / "data" / "native"
FILES = sorted(p.name for p in DATA.iterdir() if "module" not in p.name)
SOFTMAX = (DATA / "softmax.cu").read_text()


def candidate(text: str, name: str = "k.cu", task: str = "softmax") -> SourceCandidate:
    native = parse_native(text, name)
    backend = backend_named(native.head.backend)
    target = Target(backend=backend.name, arch=backend.default_arch)
    found = find_task(task)
    return source_candidate(found, backend, target, native, found.precision)


def bench(made: SourceCandidate) -> Program:
    return made.program(made.task.workloads()[0])


# -- texts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_one_text_at_every_size(name: str) -> None:
    native = read_native(DATA / name)
    assert native.head.task is not None
    made = candidate((DATA / name).read_text(), name, native.head.task)
    programs = [made.program(w) for w in made.task.workloads()]
    assert len({p.text_sha for p in programs}) == 1
    assert len({p.sources[0].sizes for p in programs}) == len(programs)
    assert {p.variant.key for p in programs} == {programs[0].variant.key}
    source = programs[0].sources[0]
    assert source.head + source.preamble.split("\n#include")[0][:10] in source.text
    # the author's own text is all there, in its order
    own = [line for line in native.text.splitlines() if line.strip()]
    whole = iter(source.text.splitlines())
    assert all(line in whole for line in own)


def test_buffers_and_launches_are_the_heads() -> None:
    text = SOFTMAX.replace(
        'args = ["x", "y"]\ngrid = ["ROWS"]\nblock = [256]',
        'args = ["x", "partial", "y"]\ngrid = ["ROWS", "ceil_div(COLS, 1024)"]\nblock = [32, 8]\n'
        'shared = "4 * COLS"',
    ).replace(
        "[[launch]]",
        '[[temporary]]\nname = "partial"\ndtype = "float64"\nshape = ["ROWS", "32"]\n[[launch]]',
    )
    program = candidate(text).program(find_task("softmax").workloads()[1])
    partial = program.buffer("partial")
    assert (partial.role, partial.dtype) == (BufferRole.TEMPORARY, "float64")
    assert partial.shape == (19, 32)
    (launch,) = program.launches
    assert launch.writes == ("partial", "y") and launch.reads == ("x",)
    assert launch.configuration == Simt(
        grid=(19, 2, 1), block=(32, 8, 1), dynamic_shared=4 * 1031, sub_group=32
    )
    assert "double* partial" in program.sources[0].body
    assert "config.dynamicSmemBytes = 4 * COLS;" in program.sources[0].body


def test_constants_of_a_triton_kernel_go_by_name() -> None:
    made = candidate((DATA / "matmul_triton.py").read_text(), "m.py", "matmul")
    program = made.program(made.task.workloads()[1])
    (launch,) = program.launches
    assert launch.configuration == TritonLaunch(
        grid=(3, 3, 1), warps=4, stages=3,
        constexprs={"M": 150, "N": 139, "K": 77, "TILE": 64, "DEPTH": 32},
    )  # fmt: skip
    assert "M=M, N=N, K=K, TILE=64, DEPTH=32," in program.sources[0].body


def test_a_file_with_another_head_is_another_candidate() -> None:
    first, second = (bench(candidate(t)) for t in (SOFTMAX, SOFTMAX.replace("sub_group", "#")))
    assert first.text_sha == second.text_sha, "the head is a comment"
    assert first.variant.key != second.variant.key


# -- heads ------------------------------------------------------------------------------------

#: What is changed in softmax.cu -> line and words of the error.
FAULTS = {
    ('entry = "softmax_kernel"', 'entrie = "softmax_kernel"'): (6, "Did you mean 'entry'?"),
    ('entry = "softmax_kernel"\n', ""): (5, "launch 1, entry: this key is needed"),
    ('"softmax_kernel"', '"softmax-kernel"'): (6, "is no name"),
    ('"softmax_kernel"', '"other_kernel"'): (6, "the text defines no 'other_kernel'"),
    ('["x", "y"]', '["x", "z"]'): (7, "no buffer 'z'"),
    ('["x", "y"]', '["x"]'): (7, "nothing that it may write"),
    ('["x", "y"]', "[]"): (7, "launch 1, args: "),
    ('["ROWS"]', '["ROW"]'): (8, "no size 'ROW'. Did you mean 'ROWS'?"),
    ('["ROWS"]', '["ROWS +"]'): (8, "cannot read the expression"),
    ('["ROWS"]', '["__import__(1)"]'): (8, "is not allowed in the expression"),
    ('["ROWS"]', '["is_power_of_two(ROWS)"]'): (8, "is_power_of_two cannot be used"),
    ('["ROWS"]', "[1.5]"): (8, "launch 1, grid 1: "),
    ('["ROWS"]', "[true]"): (8, "launch 1, grid 1: "),
    ('["ROWS"]', "[1, 1, 1, 1]"): (8, "launch 1, grid: "),
    ('["ROWS"]', '["ROWS - 4096"]'): (8, "0 at bench"),
    ('["ROWS"]', '["ROWS // BELOW"]'): (8, "division by zero"),
    ("block = [256]\n", ""): (5, "`block` is needed"),
    ("block = [256]", "block = [0]"): (9, "0 at bench"),
    ("sub_group = 32", "warps = 4"): (10, "a launch of cuda has no such key"),
    ("sub_group = 32", 'entry = "f"'): (10, "the head is no TOML"),
    ('backend = "cuda"', 'backend = "cuda'): (4, "the head is no TOML"),
    ('backend = "cuda"', 'backend = "cuda"\nentry = "f"'): (5, "its launcher is made by mkgen"),
    ('backend = "cuda"', 'backend = "cuda"\nentrypoint = 3'): (5, "entrypoint: no such key"),
    ('task = "softmax"', 'task = "relu"'): (3, "a kernel for relu, not for softmax"),
    ("[[launch]]", '[[temporary]]\nname = "x"\ndtype = "float32"\nshape = []\n[[launch]]'): (
        6, "a buffer of the task already"),
    ("[[launch]]", '[[temporary]]\nname = "t"\ndtype = "float23"\nshape = []\n[[launch]]'): (
        7, "no dtype 'float23'. Did you mean 'float32'?"),
    ("[[launch]]", '[[temporary]]\nname = "t"\ndtype = "int8"\nshape = ["N"]\n[[launch]]'): (
        8, "no size 'N'"),
    ("[[launch]]", "[parameters]\nA = [1]\nB = []\n[[launch]]"): (7, "parameters, B: "),
    ("[[launch]]", "[parameters]\nB = [1.5]\n[[launch]]"): (6, "parameters, B 1: "),
    ("[[launch]]", "[parameters]\nA = [1]\nCOLS = [2]\n[[launch]]"): (7, "is a size of the task"),
    ("[[launch]]", 'where = ["1", "A >"]\n[parameters]\nA = [1]\n[[launch]]'): (5, "where 2: "),
    ("*/\n", "", ): (2, "not closed"),
    ("/* mkgen", "/* kernel"): (1, "no head"),
}  # fmt: skip


@pytest.mark.parametrize("change", FAULTS, ids=lambda c: c[1][:40].replace("\n", " "))
def test_a_fault_is_named_with_its_line(change: tuple[str, str]) -> None:
    old, new = change
    assert old in SOFTMAX
    with pytest.raises(UserError) as caught:
        bench(candidate(SOFTMAX.replace(old, new, 1)))
    line, words = FAULTS[change]
    assert f"k.cu, line {line}" in str(caught.value), caught.value
    assert words in str(caught.value), caught.value


def test_a_head_belongs_to_its_language() -> None:
    python = (DATA / "softmax_triton.py").read_text()
    with pytest.raises(UserError, match="under a head of `# mkgen`"):
        candidate(SOFTMAX.replace('"cuda"', '"triton"'))
    with pytest.raises(UserError, match=r"under a head of `/\* mkgen`"):
        candidate(python.replace('"triton"', '"hip"'))
    with pytest.raises(UserError, match="launches its kernels itself"):
        bench(candidate(python.replace('"triton"', '"pallas"')))
    with pytest.raises(UserError, match="`entry` is needed"):
        bench(candidate('# mkgen\n# backend = "pallas"\nimport jax\n'))


def test_a_python_text_must_be_one() -> None:
    text = (DATA / "softmax_triton.py").read_text().replace("row = tl.program_id", "row = = 1")
    line = text[: text.index("row = = 1")].count("\n") + 1
    with pytest.raises(UserError, match=f"k.py, line {line}: "):
        bench(candidate(text, "k.py"))


@pytest.mark.parametrize(
    "toml",
    ["x = " + "[" * 7000, "x = " + "9" * 5000, "a" + ".a" * 5000 + " = 1", "[" * 8000,
     "x = {" * 1000, "[[launch]]\n" * 700, "\n" * 10, "grid = '''", "x = 1e999", "x = nan", "=",
     "\ufeff"],
)  # fmt: skip
def test_no_head_breaks_the_reader(toml: str) -> None:
    with pytest.raises(UserError):
        parse_native(f"/* mkgen\n{toml}\n*/\nint x;\n", "k.cu")


def test_files_have_a_size(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at most"):
        parse_native("/* mkgen\n#" + "x" * MAX_HEAD_BYTES + "\n*/\n", "k.cu")
    large = tmp_path / "large.cu"
    large.write_text("/" * (MAX_FILE_BYTES + 1))
    with pytest.raises(UserError, match="at most"):
        read_native(large)
    with pytest.raises(UserError, match="No such file"):
        read_native(tmp_path / "none.cu")
    (tmp_path / "latin.cu").write_bytes(b"/* mkgen\n\xff*/")
    with pytest.raises(UserError, match="not UTF-8 at byte 9"):
        read_native(tmp_path / "latin.cu")
    with pytest.raises(UserError, match="NUL"):
        parse_native("/* mkgen\n*/\n\0", "k.cu")


def test_a_head_may_follow_a_licence_and_windows_lines() -> None:
    text = SOFTMAX.replace("\n", "\r\n")
    assert holds_native(text) and holds_native(SOFTMAX)
    assert parse_native(text, "k.cu").head == parse_native(SOFTMAX, "k.cu").head
    assert not holds_native("int x;\n/* mkgen\n*/\n")
    assert not holds_native("")


# -- the protocol -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(1) as made:
        yield made


def passes(name: str, workers: Workers) -> None:
    native = read_native(DATA / name)
    assert native.head.task is not None
    backend = backend_named(native.head.backend)
    target = f"{backend.name}:{backend.default_arch}"
    record = judge(DATA / name, find_task(native.head.task), target, workers)
    assert record.status is Status.PASS, record.reason
    assert record.has(EvidenceKind.COMPILED) and record.has(EvidenceKind.EMULATED)
    assert (record.origin, record.checks[:3].count("tripwires")) == ("source", 1)
    assert record.variant is not None and record.variant.templates == ("source",)


def test_a_native_kernel_passes(workers: Workers) -> None:
    passes("bias_gelu.cl", workers)


@pytest.mark.long
@pytest.mark.parametrize("name", [n for n in FILES if n != "bias_gelu.cl"])
def test_every_native_kernel_passes(name: str, workers: Workers) -> None:
    passes(name, workers)


def test_eval_of_sources(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A right one, one that a tripwire stops, one with a broken head: three records, exit 2."""
    shutil.copy(DATA / "bias_gelu.cl", tmp_path / "right.cl")
    text = (DATA / "bias_gelu.cl").read_text()
    (tmp_path / "refused.cl").write_text(text + '\nvoid f() { system("ls"); }\n')
    (tmp_path / "broken.cl").write_text(text.replace("grid", "gird"))
    names = ("right", "refused", "broken")
    sources = [w for n in names for w in ("--source", str(tmp_path / f"{n}.cl"))]
    run = ["eval", *sources, "--task", "bias_gelu", "--backend", "opencl", "--json"]
    done = call(capfd, *run, "--out", str(tmp_path / "run"))
    assert done.code == 2, done.err
    records = done.document
    assert [r["status"] for r in records] == ["pass", "refused", "unsupported"]
    assert "refused.cl:23: system()" in records[1]["reason"]
    assert "broken.cl, line 8" in records[2]["reason"] and "'grid'" in records[2]["reason"]
    again = call(capfd, *run, "--out", str(tmp_path / "run"), "--resume").document
    assert [r["status"] for r in again] == ["pass", "refused", "unsupported"]
    assert again[0]["seconds"] == records[0]["seconds"], "kept, not made again"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--source", "none.cu"], "No such file"),
        (["--source", "empty"], "no package"),
        (["--source", "bare.cu"], "say what it computes with --task"),
        (["--source", "bare.cu", "--task", "softmax"], "say where it runs"),
        (["--source", "evil.cu"], "no task '/tmp/evil.py' ships with mkgen"),
    ],
)
def test_what_cannot_be_evaluated_is_an_error(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bare.cu").write_text("int x;\n")
    (tmp_path / "evil.cu").write_text('/* mkgen\ntask = "/tmp/evil.py"\nbackend = "cuda"\n*/\n')
    done = call(capfd, "eval", *arguments, "--out", "run")
    assert done.code == 2
    assert words in done.err


# -- Pallas: a text that launches its kernels itself ------------------------------------------

PALLAS = (DATA / "softmax_pallas.py").read_text()
#: Why it is refused -> what is done to the right softmax.
CHEATS = {
    "no kernel of its own": ("    block =", "    return x + 0.0\n    block ="),
    "computes outside its kernels: mul": (")(x)", ")(x * 2.0)"),
}


@pytest.mark.long
@pytest.mark.parametrize("words", CHEATS)
def test_a_text_of_pallas_computes_in_its_kernels(
    words: str, tmp_path: Path, workers: Workers
) -> None:
    old, new = CHEATS[words]
    (tmp_path / "k.py").write_text(PALLAS.replace(old, new))
    record = judge(tmp_path / "k.py", SMALL, "pallas:v5e", workers, wires=False)
    assert record.status is Status.REFUSED, record.reason
    assert words in record.reason
