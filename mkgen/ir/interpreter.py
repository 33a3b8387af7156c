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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from mkgen.expression import Binary, Call, Expression, Int, Name, evaluate
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

Array = NDArray[np.generic]
Floats = NDArray[np.float64]


@dataclass
class Numbers:
    """Values and, when asked for, the error bound of each in units of epsilon."""

    value: Array
    error: Floats | None = None

    def at(self, step: int) -> Numbers:
        """The slice of round `step` of a loop."""
        return Numbers(self.value[step], None if self.error is None else self.error[step])


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
        self.order = [a.name for a in nest.axes]
        self.memo: dict[int, Numbers] = {}

    def run(self) -> Numbers:
        """The stored array, its dimensions the parallel axes in the store's order."""
        store = self.nest.store
        reduced, scanned = self.nest.of_kind("reduce"), self.nest.of_kind("scan")
        if scanned and store.combine:
            return self._stored(self._scan(self.value(store.value), store.combine, scanned[0]))
        result = self._contract(store.value, reduced) if store.combine == "sum" else None
        if result is None:
            result = self.value(store.value)
            if store.combine:
                result = self._reduce(result, store.combine, reduced)
        return self._stored(result)

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
        """0..extent-1 along the dimension of axis `name`."""
        shape = [1] * len(self.order)
        shape[self.order.index(name)] = self.extents[name]
        return np.arange(self.extents[name], dtype=np.int64).reshape(shape)

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
            return np.asarray(_INDEX[expression.op](left, right))
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
                result = np.asarray(_APPLY[value.operation](*(a.value for a in args)))
                result = result.astype(dtype)
                error = _apply_error(value.operation, args, result) if self.errors else None
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

    def _reduce(self, operand: Numbers, combine: str, reduced: tuple[Axis, ...]) -> Numbers:
        where = tuple(self.order.index(a.name) for a in reduced)
        count = math.prod(self.extents[a.name] for a in reduced)
        full_shape = tuple(self.extents[n] for n in self.order)
        shape = np.broadcast_shapes(operand.value.shape, (1,) * len(full_shape))
        for axis in where:
            shape = (*shape[:axis], full_shape[axis], *shape[axis + 1 :])
        full = np.broadcast_to(operand.value, shape)
        result = np.asarray(_REDUCE[combine](full, axis=where, keepdims=True))
        result = result.astype(operand.value.dtype)
        if operand.error is None:
            return Numbers(result)
        error = np.broadcast_to(operand.error, shape)
        if combine == "sum":
            terms = np.abs(full.astype(np.float64)).sum(axis=where, keepdims=True)
            carried = np.sqrt(np.square(error).sum(axis=where, keepdims=True))
            return Numbers(result, carried + math.sqrt(count) * terms)
        if combine == "prod":
            with np.errstate(all="ignore"):
                relative = np.nan_to_num(error / np.abs(full), posinf=0.0)
                total = relative.sum(axis=where, keepdims=True) + count  # one rounding a factor
                return Numbers(result, np.nan_to_num(total * np.abs(result)))
        return Numbers(result, error.max(axis=where, keepdims=True))

    def _scan(self, operand: Numbers, combine: str, along: Axis) -> Numbers:
        """The running combine; a running sum's error is that of the sum so far."""
        axis = self.order.index(along.name)
        shape = list(np.broadcast_shapes(operand.value.shape, (1,) * len(self.order)))
        shape[axis] = self.extents[along.name]
        full = np.broadcast_to(operand.value, shape)
        result = np.asarray(_SCAN[combine](full, axis)).astype(operand.value.dtype)
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


_INDEX: dict[str, Callable[..., object]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "//": np.floor_divide, "%": np.mod,
}  # fmt: skip
_REDUCE: dict[str, Callable[..., object]] = {
    "sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min,
}  # fmt: skip
_SCAN: dict[str, Callable[[Array, int], object]] = {
    "sum": lambda x, axis: np.cumsum(x, axis=axis),
    "prod": lambda x, axis: np.multiply.accumulate(x, axis=axis),
    "max": lambda x, axis: np.maximum.accumulate(x, axis=axis),
    "min": lambda x, axis: np.minimum.accumulate(x, axis=axis),
}


def _erf(x: Array) -> Array:
    import torch

    return np.asarray(torch.erf(torch.from_numpy(np.ascontiguousarray(x))).numpy())


_APPLY: dict[str, Callable[..., object]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative,
    "abs": np.abs, "maximum": np.maximum, "minimum": np.minimum, "exp": np.exp, "log": np.log,
    "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x), "erf": _erf, "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "floor": np.floor, "lt": np.less,
    "le": np.less_equal, "eq": np.equal, "ne": np.not_equal, "and": np.logical_and,
    "or": np.logical_or, "not": np.logical_not, "isnan": np.isnan, "where": np.where,
    "cast": lambda x: x, "pow": np.power, "sin": np.sin, "cos": np.cos, "log1p": np.log1p,
    "expm1": np.expm1, "ceil": np.ceil, "trunc": np.trunc, "round": np.round, "fmod": np.fmod,
}  # fmt: skip

_SLOPE: dict[str, Callable[[Floats, Floats], Floats]] = {
    "exp": lambda x, y: np.abs(y),
    "log": lambda x, y: 1 / np.abs(x),
    "sqrt": lambda x, y: 0.5 / np.abs(y),
    "rsqrt": lambda x, y: 0.5 * np.abs(y / x),
    "erf": lambda x, y: 2 / math.sqrt(math.pi) * np.exp(-x * x),
    "tanh": lambda x, y: 1 - y * y,
    "sigmoid": lambda x, y: y * (1 - y),
    "sin": lambda x, y: np.abs(np.cos(x)),
    "cos": lambda x, y: np.abs(np.sin(x)),
    "log1p": lambda x, y: 1 / np.abs(1 + x),
    "expm1": lambda x, y: np.exp(x),
}
_EXACT = {"maximum", "minimum", "neg", "abs", "cast", "floor", "ceil", "trunc", "round", "fmod"}


def _apply_error(operation: str, args: list[Numbers], result: Array) -> Floats:
    """First-order error bound of one operation; its own rounding is |result|."""
    if not np.issubdtype(result.dtype, np.floating):
        return np.zeros(result.shape)
    y = np.abs(result.astype(np.float64))
    y = np.where(np.isfinite(y), y, 0.0)  # what is infinite on purpose, as a mask is, is exact
    bounds = [np.zeros(()) if a.error is None else a.error for a in args]
    values = [a.value.astype(np.float64) for a in args]
    if operation in ("add", "sub"):
        return np.asarray(bounds[0] + bounds[1] + y)
    if operation == "mul":
        return np.asarray(bounds[0] * abs(values[1]) + abs(values[0]) * bounds[1] + y)
    if operation == "div":
        return np.asarray((bounds[0] + y * bounds[1]) / np.abs(values[1]) + y)
    if operation == "pow":  # d(a^b) = a^b (b da / a + log|a| db); pow itself costs |log y| more
        base, power = values[0], values[1]
        slopes = np.nan_to_num(y * np.abs(power / base)), np.nan_to_num(y * np.log(np.abs(base)))
        own = y * (1 + np.abs(np.nan_to_num(np.log(y))))
        return np.asarray(slopes[0] * bounds[0] + np.abs(slopes[1]) * bounds[1] + own)
    if operation == "where":
        return np.asarray(np.where(args[0].value, bounds[1], bounds[2]))
    if operation in _EXACT:
        return np.asarray(np.broadcast_to(sum(bounds[1:], bounds[0]), result.shape))
    slope = np.nan_to_num(_SLOPE[operation](values[0], result.astype(np.float64)), posinf=0.0)
    return np.asarray(slope * bounds[0] + y)
