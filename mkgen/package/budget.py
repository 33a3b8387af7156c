"""The tolerance of a package's own test, by the protocol's rule at the length of its sums."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mkgen.codegen.candidate import lowered, scales
from mkgen.errors import UserError
from mkgen.evaluate.arrays import is_floating
from mkgen.evaluate.compare import OWN_FACTOR
from mkgen.evaluate.oracle import Judge
from mkgen.expression import names
from mkgen.ir.nest import Loop
from mkgen.program import PrecisionClass
from mkgen.record import Record
from mkgen.task import Sizes, Task, Workload

#: Extents of axes over which nothing is summed, the first at which no tensor is larger than
#: `_LARGE`: enough rows to find the largest error by, and seconds to compute.
_FEW = (16, 4, 1)
_LARGE = 2**24  # elements
_known: dict[tuple[str, str, PrecisionClass], float] = {}


@dataclass(frozen=True)
class Budget:
    """What a floating output of the test may be off by, absolute."""

    allowed: float
    origin: str
    """Where the figure comes from, for a comment."""


def test_budget(task: Task, workload: Workload, record: Record) -> Budget:
    """The protocol's budget where sums are as long as in `workload`, but their results few.

    A record's own figure is of small sizes: a sum of 4,096 terms may be off by more than one of
    150. Sizes that no reduction runs over do not matter to the error, so that they can be small.
    Where that cannot be computed (a reference the frontend does not lower, sizes that do not fit
    together) it is the record's figure.
    """
    largest = record.error.budget if record.error else 0.0
    key = (task.hash, workload.canonical_json(), record.precision)
    try:
        # the same for all targets, and seconds where sums are long
        if key not in _known:
            _known[key] = _allowed(task, workload, record.precision)
    except UserError:
        return Budget(largest, "the largest of record.json")
    allowed = _known[key]
    # Three digits are plenty, and keep the text the same where a library rounds another way.
    rounded = float(f"{max(allowed, largest):.3g}")
    if rounded == 0.0:
        return Budget(0.0, "the output is exact")
    relaxed = "" if record.precision is PrecisionClass.STRICT else f" in {record.precision.value}"
    return Budget(rounded, f"mkgen's budget for sums of this length{relaxed}")


def _allowed(task: Task, workload: Workload, precision: PrecisionClass) -> float:
    case = Judge(scales).case(task, _small(task, workload), precision)
    floats = [e for e in case.expected if is_floating(e.dtype)]
    return max(
        (max(OWN_FACTOR * e.own_error, float(np.max(e.floor, initial=0.0))) for e in floats),
        default=0.0,
    )


def _small(task: Task, workload: Workload) -> Workload:
    graph = lowered(task)
    kept: set[str] = set()
    long = [a for nest in graph.flat_nests() for a in nest.axes if a.kind != "parallel"]
    long += [part.axis for part in graph.nests if isinstance(part, Loop)]
    pending = {n for a in long for n in names(a.extent)}
    while pending:
        name = pending.pop()
        kept.add(name)
        if name in graph.derived:
            pending |= names(graph.derived[name]) - kept
    for few in _FEW:
        sizes: Sizes = {
            name: value if name in kept else min(value, few)
            for name, value in workload.sizes.items()
        }
        known = graph.sizes(sizes)
        made = {nest.store.tensor for nest in graph.flat_nests()}
        if max(math.prod(graph.shape(name, known)) for name in made) <= _LARGE:
            break
    return Workload(name=f"{workload.name}-few", role="user", sizes=sizes)
