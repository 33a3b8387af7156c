"""Executes nests with numpy: proves lowerings against PyTorch, and bounds their rounding error.

`run` gives values. `run_with_error` also carries a first-order bound on the rounding error, in
units of the machine epsilon, by the usual rules (Higham, Accuracy and Stability of Numerical
Algorithms, ch. 3): a sum of K terms adds sqrt(K) * sum |terms|, a product e_a |b| + |a| e_b + |ab|,
a function |f'(x)| e_x + |f(x)|. For one contraction: sqrt(K) times the sum of absolute terms.
Errors that the terms of a sum already have add up as a root of squares, as independent ones do:
their plain sum would let a network of ten layers be wrong in its second digit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from mkgen.expression import Binary, Call, Expression, Int, Name, evaluate
from mkgen.ir.arithmetic import (
    APPLY,
    INDEX,
    MERGE,
    REDUCE,
    SCAN,
    Array,
    Floats,
    Numbers,
    apply_error,
)  # fmt: skip
from mkgen.ir.nest import (
    Apply,
    Axis,
    Constant,
    Graph,
    IndexValue,
    Indirect,
    Load,
    Loop,
    Nest,
    Value,
    loads,
    round_body,
    value_names,
)  # fmt: skip

#: Points of a nest that are computed at once.
_BLOCK = 1 << 18


def run(graph: Graph, sizes: Mapping[str, int], inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of `graph`, then the state it writes, for concrete `inputs`."""
    return {k: v.value for k, v in _execute(graph, sizes, inputs, errors=False).items()}


def run_with_error(
    graph: Graph, sizes: Mapping[str, int], inputs: Mapping[str, Array]
) -> dict[str, tuple[Array, Floats]]:
    """Per output, then per state written: its value in float64 and its rounding error bound.

    The bound is in units of the epsilon of the dtype that is computed in.
    """
    wide = {k: v.astype(np.float64) if _is_float(v.dtype) else v for k, v in inputs.items()}
    done = _execute(graph, sizes, wide, errors=True)
    return {
        k: (v.value, v.error if v.error is not None else np.zeros(v.value.shape))
        for k, v in done.items()
    }


def _execute(
    graph: Graph, sizes: Mapping[str, int], inputs: Mapping[str, Array], errors: bool
) -> dict[str, Numbers]:
    values = graph.sizes(sizes)
    tensors = {
        name: Numbers(np.asarray(array), np.zeros(array.shape) if errors else None)
        for name, array in inputs.items()
    }
    wide = any(t.value.dtype == np.float64 for t in tensors.values())
    run = _Run(graph, values, tensors, errors, wide)
    results = (*graph.outputs, *graph.written_state())
    last = _last_uses(graph)
    for number, part in enumerate(graph.nests):
        if isinstance(part, Loop):
            run.loop(part)
        else:
            run.nest(part)
        for name in last[number] - set(results):
            tensors.pop(name, None)
    return {name: tensors[name] for name in results}


def _last_uses(graph: Graph) -> list[set[str]]:
    """Per part of `graph`, the tensors that no later part names: those of a network are large."""
    last: dict[str, int] = {}
    for number, part in enumerate(graph.nests):
        named = set(part.writes()) if isinstance(part, Loop) else {part.store.tensor}
        for nest in part.body if isinstance(part, Loop) else (part,):
            named |= {load.tensor for load in loads(nest.store.value)}
        last.update(dict.fromkeys(named, number))
    return [{name for name, at in last.items() if at == i} for i in range(len(graph.nests))]


@dataclass
class _Run:
    """The tensors so far, and what every nest is run with."""

    graph: Graph
    sizes: Mapping[str, int]
    tensors: dict[str, Numbers]
    errors: bool
    wide: bool

    def nest(self, nest: Nest) -> None:
        """Runs `nest` and keeps what it stores."""
        self.tensors[nest.store.tensor] = self.stored(nest, self.tensors)

    def stored(self, nest: Nest, tensors: Mapping[str, Numbers]) -> Numbers:
        """What `nest` stores, in the dtype of its tensor."""
        result = _Nest(nest, self.sizes, tensors, self.errors, self.wide).run()
        shape = self.graph.shape(nest.store.tensor, self.sizes)
        info = self.graph.tensors[nest.store.tensor]
        wide = self.wide and "float" in info.dtype
        dtype = np.dtype(np.float64) if wide else _numpy(info.dtype)
        # np.ascontiguousarray would make a vector of a scalar
        stored = tuple(evaluate(d, self.sizes) for d in nest.store.shape)
        value = np.array(np.broadcast_to(result.value, stored), dtype=dtype, order="C")
        error = None
        if result.error is not None:
            error = np.array(np.broadcast_to(result.error, stored), order="C").reshape(shape)
        return Numbers(value.reshape(shape), error)

    def loop(self, loop: Loop) -> None:
        """Runs the rounds of `loop` one after the other; errors grow from round to round."""
        count = evaluate(loop.axis.extent, self.sizes)
        body, sliced = round_body(loop), loop.sliced()
        kept: dict[str, dict[int, Numbers]] = {array: {} for array, _ in loop.collected}
        for step in reversed(range(count)) if loop.reverse else range(count):
            seen = {n: t if n not in sliced else t.at(step) for n, t in self.tensors.items()}
            for nest in body:
                seen[nest.store.tensor] = self.stored(nest, seen)
            for read, written in loop.carried:
                self.tensors[read] = seen[written]
            for array, part in loop.collected:
                kept[array][step] = seen[part]
        for array, slices in kept.items():
            self.tensors[array] = _stacked([slices[step] for step in range(count)])


def _stacked(parts: list[Numbers]) -> Numbers:
    error = None
    if parts[0].error is not None:
        error = np.stack([p.error for p in parts if p.error is not None])
    return Numbers(np.stack([p.value for p in parts]), error)


def _numpy(dtype: str) -> np.dtype[np.generic]:
    return np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def _is_float(dtype: np.dtype[np.generic]) -> bool:
    return dtype.kind == "f" or dtype == ml_dtypes.bfloat16


class _Nest:
    """One nest over numpy arrays whose dimensions are the nest's axes."""

    def __init__(
        self,
        nest: Nest,
        sizes: Mapping[str, int],
        tensors: Mapping[str, Numbers],
        errors: bool,
        wide: bool,
    ) -> None:
        self.nest, self.sizes, self.tensors = nest, sizes, tensors
        self.errors, self.wide = errors, wide
        self.extents = {a.name: evaluate(a.extent, sizes) for a in nest.axes}
        self.first = dict.fromkeys(self.extents, 0)
        self.order = [a.name for a in nest.axes]
        self.memo: dict[int, Numbers] = {}

    def run(self) -> Numbers:
        """The stored array, its dimensions the parallel axes in the store's order."""
        store = self.nest.store
        reduced, scanned = self.nest.of_kind("reduce"), self.nest.of_kind("scan")
        if scanned and store.combine:
            return self._stored(self._scan(self.value(store.value), store.combine, scanned[0]))
        result = self._contract(store.value, reduced) if store.combine == "sum" else None
        return self._stored(result or self._in_blocks(reduced))

    def _in_blocks(self, reduced: tuple[Axis, ...]) -> Numbers:
        """The value, reduced, over stretches of the longest axis: a whole one may not fit."""
        store, combine = self.nest.store, self.nest.store.combine
        name = max(self.extents, key=lambda n: self.extents[n], default="")
        extent = self.extents.get(name, 1)
        step = max(1, _BLOCK * extent // max(1, math.prod(self.extents.values())))
        spans = [(at, min(step, extent - at)) for at in range(0, extent, step)]
        if combine is None:
            made = [self._stretch(name, *span).value(store.value) for span in spans]
            return self._joined(made, name, spans)
        count = math.prod(self.extents[a.name] for a in reduced)

        def partial(span: tuple[int, int]) -> tuple[Array, ...]:
            part = self._stretch(name, *span)
            return part._reduced(part.value(store.value), combine, reduced)

        if name not in {a.name for a in reduced}:
            bounded = [self._bounded(partial(span), combine, count) for span in spans]
            return self._joined(bounded, name, spans)
        total = partial(spans[0])
        for span in spans[1:]:
            merged = zip(MERGE[combine], total, partial(span), strict=False)
            total = tuple(np.asarray(merge(a, b)) for merge, a, b in merged)
        return self._bounded(total, combine, count)

    def _joined(self, made: list[Numbers], name: str, spans: list[tuple[int, int]]) -> Numbers:
        """What stretches of axis `name` gave, beside each other."""
        if len(made) == 1:
            return made[0]
        at, rank = self.order.index(name), len(self.order)

        def joined(arrays: Sequence[Any]) -> Any:
            whole = []
            for array, (_, count) in zip(arrays, spans, strict=True):
                shape = np.broadcast_shapes(array.shape, (1,) * rank)
                whole.append(np.broadcast_to(array, (*shape[:at], count, *shape[at + 1 :])))
            return np.concatenate(whole, axis=at)

        errors = [m.error for m in made if m.error is not None]
        return Numbers(joined([m.value for m in made]), joined(errors) if errors else None)

    def _stretch(self, name: str, first: int, count: int) -> _Nest:
        """The same nest over `count` points of an axis."""
        if count == self.extents.get(name, 1):
            return self
        part = _Nest(self.nest, self.sizes, self.tensors, self.errors, self.wide)
        part.extents[name], part.first[name] = count, first
        return part

    def _stored(self, result: Numbers) -> Numbers:
        positions = [self._position(index) for index in self.nest.store.index]
        return Numbers(
            self._arrange(result.value, positions),
            None if result.error is None else self._arrange(result.error, positions),
        )

    def _position(self, index: Expression) -> int | None:
        if isinstance(index, Name) and index.name in self.order:
            return self.order.index(index.name)
        if index == Int(0):
            return None
        raise ValueError(f"{self.nest.name}: the interpreter stores at plain axes, not {index}")

    def _arrange(self, array: Any, positions: list[int | None]) -> Any:
        full = np.broadcast_to(array, np.broadcast_shapes(array.shape, (1,) * len(self.order)))
        kept = [p for p in positions if p is not None]
        drop = tuple(i for i in range(full.ndim) if i not in kept)
        moved = np.transpose(full, kept + list(drop)).reshape([full.shape[p] for p in kept] or [1])
        shape = [1 if p is None else self.extents[self.order[p]] for p in positions]
        if len(kept) == len(positions):
            return np.broadcast_to(moved, shape) if shape else moved.reshape(())
        return np.broadcast_to(
            moved.reshape([moved.shape[kept.index(p)] if p is not None else 1 for p in positions]),
            shape,
        )

    def axis(self, name: str) -> Array:
        """The positions of axis `name` along its dimension."""
        shape = [1] * len(self.order)
        shape[self.order.index(name)] = self.extents[name]
        first = self.first[name]
        return np.arange(first, first + self.extents[name], dtype=np.int64).reshape(shape)

    def index(self, expression: Expression) -> Array:
        """An index expression over the axes, as int64."""
        if isinstance(expression, Indirect):
            return self.value(expression.value).value.astype(np.int64)
        if isinstance(expression, Int):
            return np.int64(expression.value)  # type: ignore[return-value]
        if isinstance(expression, Name):
            if expression.name in self.extents:
                return self.axis(expression.name)
            return np.int64(self.sizes[expression.name])  # type: ignore[return-value]
        if isinstance(expression, Binary):
            left, right = self.index(expression.left), self.index(expression.right)
            return np.asarray(INDEX[expression.op](left, right))
        if isinstance(expression, Call) and expression.function == "ceil_div":
            left, right = (self.index(a) for a in expression.args)
            return np.asarray(-(-np.asarray(left, np.int64) // np.asarray(right, np.int64)))
        raise ValueError(f"the interpreter has no index {expression}")

    def value(self, value: Value) -> Numbers:
        """`value` over the axes."""
        if id(value) not in self.memo:
            self.memo[id(value)] = self._compute(value)
        return self.memo[id(value)]

    def _compute(self, value: Value) -> Numbers:
        dtype = self._dtype(value.dtype)
        if isinstance(value, Constant):
            return self._constant(value, np.asarray(value.value, dtype=dtype))
        if isinstance(value, IndexValue):
            return self._exact(np.asarray(self.index(value.expression)).astype(dtype))
        if isinstance(value, Load):
            return self._load(value)
        if isinstance(value, Apply):
            args = [self.value(a) for a in value.args]
            with np.errstate(all="ignore"):
                result = np.asarray(APPLY[value.operation](*(a.value for a in args)))
                result = result.astype(dtype)
                error = apply_error(value.operation, args, result) if self.errors else None
            return Numbers(result, error)
        raise TypeError(f"the interpreter has no {type(value).__name__}")

    def _dtype(self, dtype: str) -> np.dtype[np.generic]:
        return np.dtype(np.float64) if self.wide and "float" in dtype else np.dtype(dtype)

    def _exact(self, array: Array) -> Numbers:
        return Numbers(array, np.zeros(array.shape) if self.errors else None)

    def _constant(self, constant: Constant, array: Array) -> Numbers:
        """A constant; a kernel holds the nearest number of its own dtype."""
        exact = self._exact(array)
        if self.errors and "float" in constant.dtype:
            rounded = np.float32(constant.value) != np.float64(constant.value)
            if rounded:  # infinity is exact
                exact.error = np.abs(array.astype(np.float64))
        return exact

    def _load(self, load: Load) -> Numbers:
        source = self.tensors[load.tensor]
        shape = tuple(evaluate(d, self.sizes) for d in load.shape)
        positions = [self.index(i) for i in load.index]
        inside: Array | None = None
        for bound in load.guard:
            position = self.index(bound.index)
            ok = (position >= 0) & (position < self.index(bound.extent))  # type: ignore[operator]
            inside = ok if inside is None else inside & ok
        if inside is not None:
            positions = [np.where(inside, p, 0) for p in positions]
        where = tuple(positions)
        value = source.value.reshape(shape)[where].astype(self._dtype(load.dtype))
        error = None if source.error is None else source.error.reshape(shape)[where]
        if inside is not None:
            value = np.where(inside, value, np.asarray(load.other, dtype=value.dtype))
            error = None if error is None else np.where(inside, error, 0.0)
        return Numbers(np.asarray(value), error)

    def _reduced(
        self, operand: Numbers, combine: str, reduced: tuple[Axis, ...]
    ) -> tuple[Array, ...]:
        """The combination, and with errors what `_bounded` makes a bound of."""
        where = tuple(self.order.index(a.name) for a in reduced)
        full_shape = tuple(self.extents[n] for n in self.order)
        shape = np.broadcast_shapes(operand.value.shape, (1,) * len(full_shape))
        for axis in where:
            shape = (*shape[:axis], full_shape[axis], *shape[axis + 1 :])
        full = np.broadcast_to(operand.value, shape)
        with np.errstate(all="ignore"):
            result = np.asarray(REDUCE[combine](full, axis=where, keepdims=True))
        result = result.astype(operand.value.dtype)
        if operand.error is None:
            return (result,)
        error = np.broadcast_to(operand.error, shape)
        if combine == "sum":
            terms = np.abs(full.astype(np.float64, copy=False)).sum(axis=where, keepdims=True)
            return result, np.square(error).sum(axis=where, keepdims=True), terms
        if combine == "prod":
            with np.errstate(all="ignore"):
                relative = np.nan_to_num(error / np.abs(full), posinf=0.0)
            return result, relative.sum(axis=where, keepdims=True)
        return result, error.max(axis=where, keepdims=True)

    @staticmethod
    def _bounded(parts: tuple[Array, ...], combine: str, count: int) -> Numbers:
        """A combination of `count` values with its error bound."""
        if len(parts) == 1:
            return Numbers(parts[0])
        result, carried = parts[0], parts[1].astype(np.float64, copy=False)
        if combine == "sum":
            terms = parts[2].astype(np.float64, copy=False)
            return Numbers(result, np.sqrt(carried) + math.sqrt(count) * terms)
        if combine == "prod":  # one rounding a factor
            with np.errstate(all="ignore"):
                return Numbers(result, np.nan_to_num((carried + count) * np.abs(result)))
        return Numbers(result, carried)

    def _scan(self, operand: Numbers, combine: str, along: Axis) -> Numbers:
        """The running combine; a running sum's error is that of the sum so far."""
        axis = self.order.index(along.name)
        shape = list(np.broadcast_shapes(operand.value.shape, (1,) * len(self.order)))
        shape[axis] = self.extents[along.name]
        full = np.broadcast_to(operand.value, shape)
        with np.errstate(all="ignore"):
            result = np.asarray(SCAN[combine](full, axis)).astype(operand.value.dtype)
        if operand.error is None:
            return Numbers(result)
        error = np.broadcast_to(operand.error, shape)
        count = np.sqrt(np.arange(1, shape[axis] + 1, dtype=np.float64))
        count = count.reshape([-1 if i == axis else 1 for i in range(len(shape))])
        if combine == "sum":
            terms = np.cumsum(np.abs(full.astype(np.float64)), axis=axis)
            carried = np.sqrt(np.cumsum(np.square(error), axis=axis))
            return Numbers(result, carried + count * terms)
        if combine == "prod":
            with np.errstate(all="ignore"):
                relative = np.nan_to_num(error / np.abs(full), posinf=0.0)
                total = np.cumsum(relative, axis=axis) + count * count  # one rounding a factor
                return Numbers(result, np.nan_to_num(total * np.abs(result)))
        return Numbers(result, np.maximum.accumulate(error, axis=axis))

    def _contract(self, value: Value, reduced: tuple[Axis, ...]) -> Numbers | None:
        """A sum of products of two loads by einsum, which never builds the whole space."""
        if not (isinstance(value, Apply) and value.operation == "mul"):
            return None
        names = [value_names(a) & set(self.order) for a in value.args]
        if any(names[0] <= names[1] or names[1] <= names[0] for _ in (0,)):
            return None
        if not {a.name for a in reduced} <= names[0] & names[1]:
            return None
        sides = [self.value(a) for a in value.args]
        squeezed: list[Any]
        letters = {name: chr(97 + i) for i, name in enumerate(self.order)}
        keep = [n for n in self.order if n not in {a.name for a in reduced}]
        spec = ",".join("".join(letters[n] for n in self.order if n in used) for used in names)
        spec += "->" + "".join(letters[n] for n in keep)
        squeezed = [
            s.value.reshape([self.extents[n] for n in self.order if n in used])
            for s, used in zip(sides, names, strict=True)
        ]
        shape = [self.extents[n] if n in keep else 1 for n in self.order]
        result = np.einsum(spec, *squeezed, optimize=True).reshape(shape)
        if not self.errors:
            return Numbers(result)
        a, b = (np.abs(s.astype(np.float64)) for s in squeezed)
        error = np.einsum(spec, a, b, optimize=True).reshape(shape)
        count = math.prod(self.extents[x.name] for x in reduced)
        total = (math.sqrt(count) + 1) * error
        for side, own, other in ((0, 0, b), (1, 1, a)):
            bound = sides[side].error
            if bound is not None and bound.any():
                wide = bound.reshape(squeezed[own].shape)
                pair = [np.square(p) for p in ((wide, other) if side == 0 else (other, wide))]
                total = total + np.sqrt(np.einsum(spec, *pair, optimize=True)).reshape(shape)
        return Numbers(result, total)
