"""Programs made of the example files under docs/notes, at sizes that give every tile a tail."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mkgen.program import Buffer, BufferRole, Launch, Program, Repeat, Simt, Source, Variant
from mkgen.target import Target

NOTES = Path(__file__).resolve().parents[1] / "docs" / "notes"
Language = Literal["sycl", "opencl"]
Arrays = dict[str, npt.NDArray[Any]]

ROWS, COLS = 5, 1000
M, N, K = 100, 200, 50


def softmax(language: Language, arch: str) -> Program:
    """The softmax example: x[ROWS, COLS] -> y."""
    buffers = (_buffer("x", (ROWS, COLS), "input"), _buffer("y", (ROWS, COLS), "output"))
    return program(
        language, arch, source("softmax", language, {"ROWS": ROWS, "COLS": COLS}), buffers,
        "softmax_kernel", Simt(grid=(ROWS, 1, 1), block=(256, 1, 1)),
    )  # fmt: skip


def matmul(language: Language, arch: str) -> Program:
    """The matmul example: a[M, K] @ b[K, N] -> c."""
    buffers = (
        _buffer("a", (M, K), "input"),
        _buffer("b", (K, N), "input"),
        _buffer("c", (M, N), "output"),
    )
    return program(
        language, arch, source("matmul", language, {"M": M, "N": N, "K": K}), buffers,
        "matmul_kernel", Simt(grid=(4, 2, 1), block=(16, 16, 1)),
    )  # fmt: skip


def scale(language: Language, arch: str, statement: str, repeat: int = 0) -> Program:
    """A kernel over x[256] -> y[256] whose body is `statement`; `i` is the work-item's index.

    With `repeat`, x has that many rows of 256 and the kernel runs once on each, adding to y.
    """
    shape = (repeat, 256) if repeat else (256,)
    buffers = (
        _buffer("x", shape, "input"),
        _buffer("y", (256,), "output").model_copy(update={"initial": 0.0 if repeat else None}),
    )
    if language == "sycl":
        preamble = "#include <sycl/sycl.hpp>\nnamespace exp_ = sycl::ext::oneapi::experimental;\n"
        body = (
            'extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<1>))\n'
            "void scale_kernel(float* x, float* y) {\n"
            "  const int i = sycl::ext::oneapi::this_work_item::get_nd_item<1>()"
            ".get_global_linear_id();\n"
            f"  {statement}\n}}\n"
        )
    else:
        preamble = ""
        body = (
            "__kernel void scale_kernel(__global float* x, __global float* y) {\n"
            f"  const int i = get_global_id(0);\n  {statement}\n}}\n"
        )
    text = Source(
        name="scale" + (".cpp" if language == "sycl" else ".cl"),
        language=language, head="// scale\n", preamble=preamble, sizes="", body=body,
    )  # fmt: skip
    made = program(
        language, arch, text, buffers, "scale_kernel", Simt(grid=(4, 1, 1), block=(64, 1, 1))
    )
    if not repeat:
        return made
    loop = Repeat(count=repeat, steps=made.launches, advance={"x": 256})
    return made.model_copy(update={"steps": (loop,)})


def source(name: str, language: Language, sizes: dict[str, int]) -> Source:
    """The example file `name`, with `sizes` in its size block."""
    extension = ".cpp" if language == "sycl" else ".cl"
    text = (NOTES / language / (name + extension)).read_text()
    head_ends = text.index("#include") if language == "sycl" else text.index("// Sizes")
    sizes_at, body_at = text.index("// Sizes"), text.index("// Parameters")
    form = "constexpr int {} = {};\n" if language == "sycl" else "#define {} {}\n"
    return Source(
        name=name + extension,
        language=language,
        head=text[:head_ends],
        preamble=text[head_ends:sizes_at],
        sizes="".join(form.format(key, value) for key, value in sizes.items()),
        body=text[body_at:],
    )


def program(
    language: Language, arch: str, text: Source, buffers: tuple[Buffer, ...], entry: str, simt: Simt
) -> Program:
    """One launch of `entry` over all buffers."""
    names = tuple(b.name for b in buffers)
    outputs = tuple(b.name for b in buffers if b.role is BufferRole.OUTPUT)
    launch = Launch(
        source=text.name, entry=entry, args=names,
        reads=tuple(n for n in names if n not in outputs), writes=outputs, configuration=simt,
    )  # fmt: skip
    return Program(
        task=entry, task_hash="0", workload="check",
        target=Target(backend=language, arch=arch), sources=(text,), buffers=buffers,
        steps=(launch,), variant=Variant(templates=("c/example",), parameters={}, index_bits=32),
        launcher=entry.replace("kernel", "f32"), constants={},
    )  # fmt: skip


def inputs(made: Program) -> Arrays:
    """Seeded normal arrays for every input."""
    random = np.random.default_rng(7)
    return {
        b.name: random.normal(size=b.shape).astype(np.float32)
        for b in made.with_role(BufferRole.INPUT)
    }


def expected(given: Arrays) -> npt.NDArray[np.float64]:
    """softmax of `x`, or `a` @ `b`, in float64."""
    if "x" in given:
        x = given["x"].astype(np.float64)
        weight = np.exp(x - x.max(axis=1, keepdims=True))
        return np.asarray(weight / weight.sum(axis=1, keepdims=True))
    return np.asarray(given["a"].astype(np.float64) @ given["b"].astype(np.float64))


def _buffer(name: str, shape: tuple[int, ...], role: str) -> Buffer:
    return Buffer(name=name, dtype="float32", shape=shape, role=BufferRole(role))
