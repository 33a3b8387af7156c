"""What makes a task unfit to judge by, and what a judge of it will not see."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from mkgen.errors import UserError
from mkgen.evaluate.controls import passing
from mkgen.evaluate.oracle import Case, Judge
from mkgen.evaluate.structured import NO_INPUT
from mkgen.task import Sizes, Task, Workload


@dataclass(frozen=True)
class Finding:
    """One reason against a task."""

    workload: str
    """Empty where it is about the task as a whole."""
    told: str


@dataclass
class Lint:
    """What is known of one task."""

    task: str
    rejected: list[Finding] = field(default_factory=list)
    """No record of it would mean anything: a wrong answer passes, or no right one can."""
    remarks: list[Finding] = field(default_factory=list)
    """Weak sizes: a kernel made for the check sizes alone could pass."""
    structured: dict[str, str] = field(default_factory=dict)
    """Structured inputs and axes of one element or none: empty, or why it is left out."""


def lint(task: Task, judge: Judge) -> Lint:
    """Looks at `task` in its own precision class; every small size, not only the first wrong."""
    found = Lint(task.name)
    small = [w for w in task.workloads() if w.role != "bench"]
    for role, word in (("check", "check"), ("heldout", "held-out")):
        if not any(w.role == role for w in small):
            found.rejected.append(Finding("", f"it has no {word} sizes"))
    for workload in small:
        found.rejected += _unfit(task, workload, judge)
    found.remarks += [Finding("", told) for told in _weak_sizes(task)]
    if found.rejected:
        return found
    for case in judge.structured(task, task.precision):
        if case.unfit != NO_INPUT:
            found.structured[case.structure] = case.unfit
    for extent in (1, 0):
        first = next(judge.thin(task, task.precision, extent), None)
        name = f"axis of {extent}" if first is None else first.name
        found.structured[name] = "" if first else "there is no result to judge by"
    return found


def _unfit(task: Task, workload: Workload, judge: Judge) -> Iterator[Finding]:
    try:
        case = judge.case(task, workload, task.precision)
    except UserError as error:
        yield Finding(workload.name, str(error))
        return
    if case.ill_conditioned:
        yield Finding(workload.name, f"ill-conditioned: {case.ill_conditioned}")
    if not any(e.oracle.size for e in case.expected):
        yield Finding(workload.name, "the outputs have no elements; give it larger sizes")
    yield from _controls(case)


def _controls(case: Case) -> Iterator[Finding]:
    for control, label in passing(case):
        yield Finding(
            case.workload.name,
            f"{control} passes for {label}; choose inputs for which the right answer differs",
        )


def _weak_sizes(task: Task) -> Iterator[str]:
    """What a kernel with sizes written into it, or one for powers of two, could pass by."""
    shown = [sorted(s.items()) for s in task.check]
    if any(sorted(s.items()) in shown for s in task.heldout):
        yield "held-out sizes are among the check sizes"
    for word, group in (("check", task.check), ("held-out", task.heldout)):
        values = [v for sizes in group for v in sizes.values()]
        if values and not any(v % 2 and v > 3 for v in values):
            yield f"no {word} size is odd and above 3: no tail of a vector or tile is seen"
        if values and not any(_is_prime(v) and v > 3 for v in values):
            yield f"no {word} size is a prime above 3: some tile divides every one of them"
        if group and all(_cubic(task, sizes) for sizes in group):
            yield f"all {word} shapes have equal axes: swapped axes are not seen"


def _cubic(task: Task, sizes: Sizes) -> bool:
    """Whether every input of several axes has them all alike."""
    shapes = [tensor.resolve(sizes) for tensor in task.inputs.values()]
    several = [shape for shape in shapes if len(shape) > 1]
    return bool(several) and all(len(set(shape)) == 1 for shape in several)


def _is_prime(value: int) -> bool:
    return value > 1 and all(value % d for d in range(2, math.isqrt(value) + 1))
