"""Seconds that no kernel can beat on a device: what must move, and what must be computed.

Both are lower bounds of the task, not of a program: how a candidate works does not change them.
Where a bound is not certain it is counted as zero, because a floor that is too high calls an
honest kernel impossible.

*Bytes.* An input is counted by the elements that every way to compute the outputs must read: those
of loads that depend on no mask, no padding, no index read from memory and no choice (`where`), as
far as the outputs depend on them. They were evicted before the call, so that each comes from
memory once. What is written may still lie in the cache when the call is over: only writes beyond
the size of the last-level cache count. Without a flush that was seen to work the inputs may lie
there too, and all bytes count only beyond it.

*Operations.* A sum of products counts where its whole result, or a value per element of it, is an
output: of what is reduced further there may be a shorter way. A matrix product of Strassen's kind
needs 7/8 of the multiplications, a convolution by Winograd's method as few as a quarter. The peak
is that of the fastest arithmetic that is as accurate: float32 from three products of bfloat16 or
TF32 on matrix units, float64 from products of int8.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mkgen.codegen.candidate import lowered
from mkgen.errors import MkgenError
from mkgen.evaluate.arrays import DTYPES
from mkgen.expression import evaluate
from mkgen.ir.nest import Apply, Axis, Graph, Indirect, Load, Loop, Nest, Value, index_names
from mkgen.profile import HardwareProfile
from mkgen.program import PrecisionClass
from mkgen.task import Task, Workload

#: fact -> products of its kind that one product of the dtype needs at least.
_PEAKS: dict[str, dict[str, float]] = {
    "float64": {"peak_float64": 1, "peak_float64_matrix": 1, "peak_int8": 16},
    "float32": {"peak_float32": 1, "peak_tf32": 3, "peak_bfloat16": 3, "peak_float16": 3},
    "float16": {"peak_float16": 1, "peak_bfloat16": 1, "peak_float32": 1},
    "bfloat16": {"peak_float16": 1, "peak_bfloat16": 1, "peak_float32": 1},
}
_RELAXED = {PrecisionClass.TF32: "peak_tf32", PrecisionClass.BF16: "peak_bfloat16"}
_STRASSEN, _WINOGRAD = 7 / 8, 1 / 4


@dataclass(frozen=True)
class Floor:
    """A lower bound of a call's device time, in seconds, and what it is made of."""

    seconds: float
    reason: str


def floor_of(
    task: Task,
    workload: Workload,
    precision: PrecisionClass,
    profile: HardwareProfile,
    cache_bytes: int,
    *,
    flushed: bool,
) -> Floor:
    """The floor of `task` at `workload` on the device of `profile`.

    `cache_bytes`: its last-level cache. `flushed`: whether a probe saw that the flush works.
    """
    if profile.vendor == "generic":
        return Floor(0.0, f"{profile.title} stands for many devices: it has no floor")
    try:
        graph = lowered(task)
    except MkgenError as error:
        return Floor(0.0, f"the task cannot be lowered, so that nothing is counted: {error}")
    sizes = graph.sizes(workload.sizes)
    read, written = _read_bytes(graph, sizes), _written_bytes(graph, sizes)
    moved = read + max(0, written - cache_bytes)
    if not flushed:
        moved = max(0, read + written - cache_bytes)
    bandwidth = profile.number("memory_bandwidth")
    memory, operations, peak = moved / bandwidth, 0.0, 0.0
    for dtype, count in _operations(graph, sizes).items():
        peak = _peak(profile, dtype, precision)
        operations += count / peak if peak else 0.0
    told = f"{moved / 1e6:.3g} MB at {bandwidth / 1e12:.3g} TB/s"
    if operations > memory:
        return Floor(operations, f"matrix products at {peak / 1e12:.3g} Tflop/s")
    return Floor(memory, told)


def _peak(profile: HardwareProfile, dtype: str, precision: PrecisionClass) -> float:
    """Operations per second, the best that the profile states; 0 where it states none."""
    facts = dict(_PEAKS.get(dtype, {}))
    if dtype == "float32" and precision in _RELAXED:
        facts |= {_RELAXED[precision]: 1, "peak_bfloat16": 1, "peak_float16": 1}
    found = [profile.number(f) / n for f, n in facts.items() if f in profile.facts]
    return max(found, default=0.0)


def _parts(graph: Graph) -> Iterator[tuple[Nest, tuple[Axis, ...]]]:
    """Every nest, with its axes and that of the loop it runs in; the last one first."""
    for part in reversed(graph.nests):
        for nest in reversed(part.body) if isinstance(part, Loop) else (part,):
            yield nest, (*nest.axes, part.axis) if isinstance(part, Loop) else nest.axes


def _read_bytes(graph: Graph, sizes: Mapping[str, int]) -> int:
    """Bytes of the given tensors that must be read."""
    share = _shares(graph, sizes)
    total = 0.0
    for name, info in graph.tensors.items():
        if info.role in ("input", "parameter", "state"):
            count = math.prod(graph.shape(name, sizes))
            total += share.get(name, 0.0) * count * DTYPES[info.dtype].itemsize
    return int(total)


def _shares(graph: Graph, sizes: Mapping[str, int]) -> dict[str, float]:
    """The part of each tensor's elements that the outputs depend on for certain."""
    share = dict.fromkeys((*graph.outputs, *graph.written_state()), 1.0)
    for nest, axes in _parts(graph):
        needed = share.get(nest.store.tensor, 0.0)
        decided = (
            nest.store.combine is not None and graph.tensors[nest.store.tensor].dtype == "bool"
        )
        if not needed or decided:  # `any` may stop at the first that holds
            continue
        extents = {axis.name: evaluate(axis.extent, sizes) for axis in axes}
        for load in _certain(nest.store.value):
            if load.tensor not in graph.tensors:
                continue
            whole = math.prod(graph.shape(load.tensor, sizes))
            seen = _points(load, extents)
            part = needed * min(1.0, seen / whole) if whole else 0.0
            share[load.tensor] = max(share.get(load.tensor, 0.0), part)
    return share


def _points(load: Load, extents: Mapping[str, int]) -> int:
    """How many elements `load` touches at most; every bound of it is one of an axis."""
    used = frozenset().union(*(index_names(i) for i in load.index), frozenset())
    return math.prod(extents[name] for name in used if name in extents)


def _certain(value: Value) -> Iterator[Load]:
    """Loads that every evaluation of `value` needs."""
    if isinstance(value, Load):
        for component in value.index:
            if isinstance(component, Indirect):
                yield from _certain(component.value)
        if not value.guard and not any(isinstance(i, Indirect) for i in value.index):
            yield value
        return
    children = value.children()
    if isinstance(value, Apply) and value.operation in ("where", "and", "or"):
        children = children[:1]
    for child in children:
        yield from _certain(child)


def _written_bytes(graph: Graph, sizes: Mapping[str, int]) -> int:
    names = dict.fromkeys((*graph.outputs, *graph.written_state()))
    return sum(
        math.prod(graph.shape(name, sizes)) * DTYPES[graph.tensors[name].dtype].itemsize
        for name in names
    )


def _operations(graph: Graph, sizes: Mapping[str, int]) -> dict[str, float]:
    """Multiplications and additions that must be done, by the dtype of the result."""
    found: dict[str, float] = {}
    ends = _ends(graph, sizes)
    for nest, axes in _parts(graph):
        value, store = nest.store.value, nest.store
        is_product = isinstance(value, Apply) and value.operation == "mul"
        if store.combine != "sum" or not is_product or store.tensor not in ends:
            continue
        assert isinstance(value, Apply)
        operands = [v for v in value.args if isinstance(v, Load)]
        if len(operands) != 2 or any(v.guard for v in operands) or operands[0] == operands[1]:
            continue
        factor = _STRASSEN if nest.tag == "matmul" else _WINOGRAD
        points = math.prod(evaluate(axis.extent, sizes) for axis in axes)
        dtype = graph.tensors[store.tensor].dtype
        found[dtype] = found.get(dtype, 0.0) + 2 * factor * points
    return found


def _ends(graph: Graph, sizes: Mapping[str, int]) -> set[str]:
    """Outputs, and tensors of which an output is a value per element."""
    ends = set(graph.outputs)
    for nest, _ in _parts(graph):
        if nest.store.tensor not in ends or nest.store.combine is not None:
            continue
        whole = math.prod(graph.shape(nest.store.tensor, sizes))
        for load in _certain(nest.store.value):
            if load.tensor in graph.tensors and whole == math.prod(graph.shape(load.tensor, sizes)):
                ends.add(load.tensor)
    return ends
