"""One text at every size, and how its buffers stand for the task's arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mkgen.evaluate.inputs import Inputs
from mkgen.evaluate.oracle import Case
from mkgen.program import GIVEN, BufferRole, Program
from mkgen.record import Status
from mkgen.task import Workload


class Stop(Exception):  # noqa: N818  the end of one candidate, not an error of ours
    """The candidate ends here, with this status."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Programs:
    """One text at every size."""

    workload: Workload
    bench: Program
    small: tuple[tuple[Workload, Program], ...]
    """Check and held-out sizes."""
    thin: tuple[tuple[Workload, Program], ...] = ()
    """Check sizes with an axis of one element or none, where the candidate can have them."""

    def uncovered(self) -> str:
        """What the small sizes do not show of the text; empty when they show all."""
        roles = {workload.role for workload, _ in self.small}
        for role, word in (("check", "check"), ("heldout", "held-out")):
            if role not in roles:
                return f"the task has no {word} sizes"
        seen: dict[str, bool] = {}
        for program in (self.bench, *(p for _, p in self.small)):
            for condition, holds in program.requirements:
                shown = holds and program is not self.bench
                seen[condition] = seen.get(condition, False) or shown
        missing = [condition for condition, shown in seen.items() if not shown]
        if not missing:
            return ""
        listed = "; ".join(missing)
        return f"no check or held-out size shows {listed}; choose sizes or parameters that do"


def inputs_of(program: Program, case: Case) -> Inputs:
    """The arrays `program` reads, by buffer name. Stop when it wants others than the task's."""
    chosen: Inputs = {}
    for buffer in program.with_role(*GIVEN):
        array = case.inputs.get(buffer.name)
        if array is None:
            known = ", ".join(case.inputs)
            raise Stop(
                Status.WRONG_OUTPUT,
                f"the program reads {buffer.name!r}, which the task has not; it has {known}",
            )
        if array.shape != buffer.shape or array.dtype.name != buffer.dtype:
            raise Stop(
                Status.WRONG_OUTPUT,
                f"the program takes {buffer.name!r} as {buffer.dtype} {buffer.shape}; on "
                f"{case.workload.name} the task gives {array.dtype.name} {array.shape}",
            )
        chosen[buffer.name] = array
    return chosen


def in_order(program: Program, case: Case, outputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Outputs as `case.expected` lists them.

    Stop where their number is another; KeyError for a name that is not there.
    """
    returned = program.with_role(BufferRole.OUTPUT)
    wanted = sum(1 for expected in case.expected if not expected.state)
    if len(returned) != wanted:
        raise Stop(
            Status.WRONG_OUTPUT,
            f"the program has {len(returned)} outputs, the task returns {wanted}",
        )
    names = [e.state or returned[i].name for i, e in enumerate(case.expected)]
    return [outputs[name] for name in names]
