"""What the cost model says of a task on a target, in words that an author can act on."""

from __future__ import annotations

from mkgen.codegen.backend import Backend
from mkgen.codegen.candidate import Generator
from mkgen.errors import MkgenError
from mkgen.evaluate.limits import last_level_cache, profile_of
from mkgen.evaluate.timing.floor import floor_of
from mkgen.target import Target
from mkgen.task import Task
from mkgen.tune.choose import rank

_SUGGESTIONS = {
    "memory": (
        "Move each byte once: read an input a single time, keep rows in registers, fuse all that "
        "follows.",
        "Neighbouring threads read neighbouring addresses; read several elements at a time.",
    ),
    "compute": (
        "Use each value that was read many times: tiles in shared memory, then several results "
        "per thread in registers.",
        "Unroll the inner loop; keep registers below what halves the occupancy.",
    ),
}


def hints_for(task: Task, backend: Backend, target: Target) -> tuple[str, ...]:
    """The bound by the floor of the task and by the model's best template; then what it suggests.

    Empty where nothing can be said: a task that cannot be lowered, a device without figures.
    """
    bench = task.workloads()[0]
    profile = profile_of(backend, target)
    cache = last_level_cache(backend, target)
    floor = floor_of(task, bench, task.precision, profile, cache, flushed=True)
    hints = []
    if floor.seconds:
        hints.append(
            f"No kernel can be faster than {floor.seconds * 1e6:.3g} us here: {floor.reason}."
        )
    try:
        best = rank(Generator(task, backend, target, task.precision))[0].estimate
    except MkgenError:
        return tuple(hints)  # no template: the model has nothing to estimate
    hints.append(f"A plain kernel should take about {best.seconds * 1e6:.3g} us ({best.reason}).")
    return (*hints, *_SUGGESTIONS[best.bound])
