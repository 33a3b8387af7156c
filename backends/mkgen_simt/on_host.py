"""Everything that runs CUDA and HIP text on a CPU."""

from __future__ import annotations

from collections.abc import Callable

from mkgen.codegen.backend import Executor
from mkgen.program import Program
from mkgen_simt.asan import SimtAsanExecutor
from mkgen_simt.build import Language
from mkgen_simt.host import SimtHostExecutor
from mkgen_simt.race import SimtRaceExecutor


def host_executors(language: Language, lanes: Callable[[Program], int]) -> tuple[Executor, ...]:
    """The emulator and the sanitizers; `lanes` says what a warp of the program's target has."""
    return (
        SimtHostExecutor(language, lanes),
        SimtAsanExecutor(language, lanes),
        SimtRaceExecutor(language, lanes),
    )
