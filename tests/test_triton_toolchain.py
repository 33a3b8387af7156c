"""Triton: real binaries for both vendors, the interpreter's checks, and its refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mkgen.errors import MissingError, WrongArchError
from mkgen.program import (
    Artifact,
    Buffer,
    BufferRole,
    Launch,
    Program,
    Source,
    TritonLaunch,
    Variant,
)
from mkgen.target import Target
from mkgen_triton import TritonBackend
from mkgen_triton.archs import check_binary, find_arch
from mkgen_triton.resources import from_ptxas

ROOT = Path(__file__).parent.parent

PREAMBLE = """\"\"\"softmax over the last axis.\"\"\"
import torch
import triton
import triton.language as tl

"""
BODY = """
WARPS = 4


@triton.jit
def softmax_kernel(x, y, COLS: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * COLS
    col = tl.arange(0, BLOCK)
    inside = col < COLS
    logit = tl.load(x + row + col, mask=inside, other=-float("inf"))
    weight = tl.exp(logit - tl.max(logit, axis=0))
    tl.store(y + row + col, weight / tl.sum(weight, axis=0), mask=inside)


def softmax(x: torch.Tensor) -> torch.Tensor:
    y = torch.empty_like(x)
    softmax_kernel[(ROWS,)](x, y, COLS, BLOCK, num_warps=WARPS, num_stages=2)
    return y
"""


def program(
    arch: str, rows: int = 5, cols: int = 77, block: int = 128, body: str = BODY
) -> Program:
    """The softmax of EXAMPLES at (rows, cols), with `body` in place of its own."""
    launch = Launch(
        source="softmax.py", entry="softmax_kernel", args=("x", "y"), reads=("x",), writes=("y",),
        configuration=TritonLaunch(
            grid=(rows, 1, 1), constexprs={"COLS": cols, "BLOCK": block}, warps=4, stages=2
        ),
    )  # fmt: skip
    sizes = f"ROWS, COLS, BLOCK = {rows}, {cols}, {block}\n"
    return Program(
        task="softmax", task_hash="0", workload="check", target=Target.parse(f"triton:{arch}"),
        sources=(Source(name="softmax.py", language="triton", head="", preamble=PREAMBLE,
                        sizes=sizes, body=body),),
        buffers=(Buffer(name="x", dtype="float32", shape=(rows, cols), role=BufferRole.INPUT),
                 Buffer(name="y", dtype="float32", shape=(rows, cols), role=BufferRole.OUTPUT)),
        steps=(launch,), launcher="softmax", constants={"ROWS": rows, "COLS": cols},
        variant=Variant(templates=("triton/rowwise",), parameters={"BLOCK": block}, index_bits=64),
    )  # fmt: skip


WORKER = """
import json, sys
from pathlib import Path
import numpy as np
from mkgen.errors import MkgenError
from mkgen.program import Program
from mkgen_triton import TritonBackend
role, directory, *files = sys.argv[1:]
directory = Path(directory)
for i, file in enumerate(files):
    program = Program.model_validate_json(Path(file).read_text())
    place = directory / f"{role}{i}"
    place.mkdir()
    try:
        if role == "compile":
            result = TritonBackend().compile(program, place).model_dump(mode="json")
        else:
            executor = TritonBackend().executors()[0]
            x = np.load(directory / f"x{i}.npy")
            loaded = executor.load(program, None, place)
            for schedule in executor.schedules:
                out = loaded.run({"x": x}, schedule)
                np.save(directory / f"y{i}{schedule}.npy", out["y"])
            result = {"ok": True}
    except MkgenError as error:
        result = {"error": type(error).__name__, "message": str(error)}
    print("RESULT", json.dumps(result), flush=True)
"""


def work(role: str, directory: Path, programs: list[Program]) -> list[dict[str, object]]:
    """What a worker of `role` says of each program: compiling and interpreting exclude another."""
    environment = dict(os.environ, PYTHONPATH=f"{ROOT}:{ROOT / 'backends'}")
    environment |= TritonBackend().environment("compile" if role == "compile" else "emulate")
    environment["TRITON_CACHE_DIR"] = str(directory / "cache")
    files = []
    for i, one in enumerate(programs):
        file = directory / f"{role}{i}.json"
        file.write_text(one.model_dump_json())
        files.append(str(file))
    done = subprocess.run(
        [sys.executable, "-c", WORKER, role, str(directory), *files],
        env=environment, capture_output=True, text=True, timeout=80,
    )  # fmt: skip
    lines = [text[7:] for text in done.stdout.splitlines() if text.startswith("RESULT ")]
    assert len(lines) == len(programs), done.stderr
    return [json.loads(text) for text in lines]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """Three archs, sm_90 again, a tile that spills, an unknown name, and two kernels."""
    # A 16384-wide row in one warp's registers is 512 values a lane: over the 255 there are.
    wide = program("sm_90", 1, 16384, 16384)
    launch = wide.launches[0]
    one_warp = launch.configuration.model_copy(update={"warps": 1})
    step = launch.model_copy(update={"configuration": one_warp})
    wide = wide.model_copy(update={"steps": (step,)})
    broken = program("sm_90", body=BODY.replace("tl.exp(logit", "tl.exp(logits"))
    twice = program("gfx942")
    other = twice.launches[0].configuration.model_copy(update={"warps": 8})
    twice = twice.model_copy(update={
        "steps": (*twice.steps, twice.launches[0].model_copy(update={"configuration": other}))
    })  # fmt: skip
    programs = [program(arch) for arch in ("sm_90", "gfx942", "gfx1100", "sm_90")]
    return work("compile", tmp_path_factory.mktemp("triton"), [*programs, wide, broken, twice])


def test_compiles_for_both_vendors(compiled: list[dict[str, object]]) -> None:
    """Each file's ELF header names the arch; registers and shared memory are stated."""
    for result, arch in zip(compiled[:3], ("sm_90", "gfx942", "gfx1100"), strict=True):
        artifact = Artifact.model_validate(result)
        assert artifact.arch == arch and f"({arch})" in artifact.checked
        resources = artifact.resources["softmax_kernel"]
        assert resources.registers and resources.registers > 4
        assert resources.spill_bytes == 0
        assert artifact.isa_path and Path(artifact.isa_path).stat().st_size > 500


def test_the_same_text_gives_the_same_bytes(compiled: list[dict[str, object]]) -> None:
    """No path of the file gets into the binary."""
    assert compiled[0]["sha"] == compiled[3]["sha"]


def test_spills_are_seen(compiled: list[dict[str, object]]) -> None:
    """Triton accepts a tile that cannot fit the registers; the figures show it."""
    spilled = Artifact.model_validate(compiled[4]).resources["softmax_kernel"]
    assert spilled.spilled_registers and spilled.spilled_registers > 100


def test_a_compile_error_names_the_line_of_the_file(compiled: list[dict[str, object]]) -> None:
    """The line is the shipped file's, not one counted from the function."""
    text = program("sm_90", body=BODY.replace("tl.exp(logit", "tl.exp(logits")).sources[0].text
    line = 1 + next(i for i, t in enumerate(text.splitlines()) if "logits" in t)
    assert compiled[5]["error"] == "CompileError"
    assert f"softmax.py:{line}:" in str(compiled[5]["message"])
    assert "logits" in str(compiled[5]["message"])


def test_several_kernels_make_one_file(compiled: list[dict[str, object]]) -> None:
    """Two configurations of one entry are two binaries in one archive."""
    from mkgen_triton.compiling import read_binaries

    artifact = Artifact.model_validate(compiled[6])
    assert set(read_binaries(artifact)) == {"softmax_kernel", "softmax_kernel_2"}


def test_the_interpreter_is_right_and_sees_faults(tmp_path: Path) -> None:
    """Right in both orders; a missing mask, a changed input, a gap and a race are faults."""
    unmasked = BODY.replace(", mask=inside)\n\n\ndef", ")\n\n\ndef")
    changed = BODY.replace("tl.store(y + row", "tl.store(x + row")
    gap = BODY.replace("softmax_kernel[(ROWS,)]", "softmax_kernel[(ROWS - 1,)]")
    racing = BODY.replace(
        "    logit = ",
        "    below = inside & (row + col >= COLS)\n"
        "    above = tl.load(y + row - COLS + col, mask=below, other=0.0)\n"
        "    logit = above * 0 + ",
    )
    bodies = [BODY, unmasked, changed, gap, racing]
    assert len(set(bodies)) == len(bodies)
    x = np.random.default_rng(0).standard_normal((5, 77)).astype(np.float32)
    for i in range(len(bodies)):
        np.save(tmp_path / f"x{i}.npy", x)
    results = work("emulate", tmp_path, [program("gfx942", body=body) for body in bodies])
    expected = np.exp(x.astype(np.float64))
    expected /= expected.sum(axis=1, keepdims=True)
    assert results[0] == results[4] == {"ok": True}
    for schedule in ("", "reverse"):
        assert np.abs(np.load(tmp_path / f"y0{schedule}.npy") - expected).max() < 1e-7
    assert "out-of-bounds write" in str(results[1]["message"])
    assert "changed its input 'x'" in str(results[2]["message"])
    assert np.isnan(np.load(tmp_path / "y3.npy")[-1]).all()
    assert not np.isnan(np.load(tmp_path / "y4.npy")).any()
    assert np.isnan(np.load(tmp_path / "y4reverse.npy")).any()


def test_another_arch_is_refused() -> None:
    """An ELF header of gfx942 is not gfx1100, and no ELF is no arch."""
    header = bytearray(64)
    header[:4], header[18], header[48] = b"\x7fELF", 224, 0x4C
    assert "gfx942" in check_binary(bytes(header), find_arch("gfx942"))
    with pytest.raises(WrongArchError, match="0x4c"):
        check_binary(bytes(header), find_arch("gfx1100"))
    with pytest.raises(WrongArchError, match="not an ELF"):
        check_binary(b"PTX", find_arch("sm_90"))


def test_ptxas_figures() -> None:
    """Figures as ptxas 13 prints them; absent ones stay None."""
    log = "    32 bytes stack frame, 28 bytes spill stores, 4 bytes spill loads\nUsed 255 registers"
    resources = from_ptxas(log, 16, b"12")
    assert (resources.registers, resources.spilled_registers, resources.stack_bytes) == (255, 7, 32)
    assert from_ptxas("", 0, b"").spill_bytes is None


def test_a_missing_toolchain_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without Triton the probe gives a remedy and compiling raises MissingError."""
    import mkgen_triton.probe as module

    monkeypatch.setattr(module, "find_spec", lambda name: None)
    monkeypatch.setattr(module, "installed", lambda name: None)
    found = TritonBackend().probe()
    assert found.generate.ok and not found.compile.ok and "pip install" in found.compile.remedy
    with pytest.raises(MissingError, match="pip install"):
        TritonBackend().compile(program("sm_90"), tmp_path)


def test_probe_imports_nothing_heavy() -> None:
    """Rendering and `doctor` must start fast and start no driver."""
    code = (
        "import sys, mkgen_triton; b = mkgen_triton.TritonBackend(); b.probe(); b.executors();"
        "print([m for m in ('torch', 'triton') if m in sys.modules])"
    )
    environment = dict(os.environ, PYTHONPATH=f"{ROOT}:{ROOT / 'backends'}")
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert out.stdout.strip() == "[]", out.stderr
