"""Programs around a kernel text, for the tests of SIMT-on-host."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mkgen.program import Buffer, Program, Source, Variant
from mkgen.target import Target
from mkgen_simt.host import SimtHostExecutor, SimtProgram


def buffer(name: str, array: np.ndarray, role: str, **more: object) -> Buffer:
    return Buffer.model_validate(
        {"name": name, "dtype": array.dtype.name, "shape": array.shape, "role": role, **more}
    )


def load(
    language: str,
    text: str,
    launcher: str,
    buffers: tuple[Buffer, ...],
    lanes: int = 32,
    **more: object,
) -> SimtProgram:
    source = Source.model_validate(
        {"name": f"kernel.{'cu' if language == 'cuda' else 'hip'}", "language": language,
         "head": "", "sizes": "", "body": text}
    )  # fmt: skip
    program = Program(
        task="test", task_hash="0", workload="check",
        target=Target.parse("cuda:sm_90a" if language == "cuda" else "hip:gfx942"),
        sources=(source,), buffers=buffers, steps=(),
        variant=Variant(templates=("c/test",), parameters={}, index_bits=32),
        launcher=launcher, constants={},
    )  # fmt: skip
    executor = SimtHostExecutor(language, lambda _: lanes, **more)  # type: ignore[arg-type]
    assert executor.accepts(program) is None
    return executor.load(program, None, Path())
