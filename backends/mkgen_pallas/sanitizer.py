"""Pallas' simulated TPU with its race detector: two cores, memory that nothing has written."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mkgen.codegen.backend import Arrays, Loaded
from mkgen.errors import ExecutionError, SanitizerError
from mkgen.program import Artifact, Program
from mkgen.record import EvidenceKind
from mkgen_pallas.interpreter import SEED, WIDTHS, Interpreted, TpuText

#: Points of an axis declared `parallel` go to both.
CORES = 2

#: `  write of (KEY)[(RANGE)] from DEVICE, CORE, PLACE`, twice for a race.
_ACCESS = re.compile(
    r"^\s+(read|write) of \(.*?\)\[.*?\] from [^,\n]+, [^,\s]+,? (.*)$", re.MULTILINE
)
_PLACE = re.compile(r"([^\s/:]+\.py):(\d+)")
_OUTSIDE = re.compile(r"Out-of-bounds[^\n]*")


class SanitizerExecutor(TpuText):
    """Text for a TPU, on two cores that run at once."""

    name: ClassVar[str] = "pallas-races"
    kind: ClassVar[EvidenceKind] = EvidenceKind.SANITIZED
    schedules: ClassVar[tuple[str, ...]] = ("",)
    cannot_see: ClassVar[tuple[str, ...]] = (
        "the machine code of the target",
        "races through remote copies, for which there is one device only",
        "unwritten values that change no output; the line of those that do",
        WIDTHS,
    )

    def load(self, program: Program, artifact: Artifact | None, directory: Path) -> Loaded:
        """Imports the module text from `directory`."""
        return Watched(program, self.launcher(program, directory), self)


class Watched(Interpreted):
    """A launcher whose kernels are simulated under the race detector."""

    def run(self, inputs: Arrays, schedule: str = "") -> dict[str, np.ndarray]:
        """Two runs; SanitizerError for a race, an access outside, or an unwritten value."""
        if schedule not in self._schedules:
            raise ExecutionError(f"{self._executor} has no schedule {schedule!r}")
        outputs = self._watched(inputs, "nan")
        again = self._watched(inputs, "zero")
        for name, array in outputs.items():
            if array.tobytes() != again[name].tobytes():
                raise SanitizerError(
                    f"{self._program.sources[-1].name}: unwritten: {name} depends on memory that "
                    "nothing has written (other bits where that is 0 instead of NaN)"
                )
        return outputs

    def _watched(self, inputs: Arrays, unwritten: str) -> dict[str, np.ndarray]:
        tpu: Any = importlib.import_module("jax.experimental.pallas.tpu")
        mode = tpu.InterpretParams(
            detect_races=True, uninitialized_memory=unwritten, out_of_bounds_reads="raise",
            num_cores_or_threads=CORES, random_seed=SEED,
        )  # fmt: skip
        told = io.StringIO()  # the detector prints
        try:
            with contextlib.redirect_stdout(told), tpu.force_tpu_interpret_mode(mode):
                outputs = self._called(inputs)
        except ExecutionError as error:
            # the simulated memories outlive a failed kernel and would fail the next one
            tpu.reset_tpu_interpret_mode_state()
            outside = _OUTSIDE.search(str(error))
            if outside is None:
                raise
            place = _PLACE.search(str(error))
            at = f"{place[1]} line {place[2]}" if place else self._program.sources[-1].name
            raise SanitizerError(f"{at}: out of bounds: {outside[0]}") from error
        finding = race_told(told.getvalue(), self._program.sources[-1].name)
        if finding:
            raise SanitizerError(finding)
        return outputs


def race_told(printed: str, source: str) -> str:
    """The first race of what the detector `printed`, as one line; empty when there is none."""
    if "RACE DETECTED" not in printed:
        return ""
    seen = _ACCESS.findall(printed)[:2]
    places = [_PLACE.search(place) for _, place in seen]
    if len(seen) < len(("one", "other")):
        return f"{source}: race: {' '.join(printed.split())[:500]}"
    told = [
        f"{doing}s{f' at line {place[2]}' if place else ', as a block of the call,'}"
        for (doing, _), place in zip(seen, places, strict=True)
    ]
    first = next((place for place in places if place), None)
    at = f"{first[1]} line {first[2]}" if first else source
    return (
        f"{at}: race: one core {told[0]} what another {told[1].rstrip(',')}, and nothing orders "
        "them: is every axis that is declared parallel really so?"
    )
