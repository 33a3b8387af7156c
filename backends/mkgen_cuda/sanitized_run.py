"""Runs one program once, as a process of its own: `python -m mkgen_cuda.sanitized_run`.

Arguments: a directory with program.json and inputs/, the cubin, and `poisoned`, or `unwritten`
where buffers that nothing fills are left as they were allocated, so that their reads show.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from mkgen.evaluate.arrays import load_arrays, save_arrays
from mkgen.program import GIVEN, Program
from mkgen_simt.cupy_device import CupyRuntime
from mkgen_simt.device_run import GpuLoaded


class _Unwritten(CupyRuntime):
    """Leaves memory as it was allocated where there is nothing to put there."""

    skipped: frozenset[int] = frozenset()
    _uploads = 0

    def upload(self, pointer: int, data: np.ndarray) -> None:
        """See GpuRuntime; `skipped` numbers the buffers that are left alone."""
        number = self._uploads
        self._uploads += 1
        if number not in self.skipped:
            super().upload(pointer, data)


def main() -> None:
    """Runs what the arguments name."""
    directory, cubin, filling = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    program = Program.model_validate_json((directory / "program.json").read_text())
    entries = sorted({launch.entry for launch in program.launches})
    runtime = _Unwritten(cubin, entries)
    if filling == "unwritten":
        owned = [b for b in program.buffers if b.alias is None]
        free = [b.role not in GIVEN and b.initial is None for b in owned]
        runtime.skipped = frozenset(i for i, skipped in enumerate(free) if skipped)
    # no guard zones: the sanitizer watches the ends of allocations
    outputs = GpuLoaded(program, runtime, reach=0).run(load_arrays(directory / "inputs"))
    save_arrays(directory / "outputs", outputs)


if __name__ == "__main__":
    main()
