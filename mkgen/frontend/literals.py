"""Numbers of a trace, as expressions over named sizes.

torch.export bakes the sizes of its example into the graph: `view(x, [2, 17, 4, 8])`. The generated
text must serve every workload, so the reference is traced at the sizes of all of them, and the
number at one place of the graph becomes the simplest expression that gives the right value for
each: a constant, a size, a product, a quotient, a sum.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mkgen.errors import MkgenError, UnsupportedError
from mkgen.expression import Expression, Int, Name
from mkgen.ir.nest import Apply, Constant, Graph, IndexValue, Value
from mkgen.task import Sizes, Task

#: Traces a task at given sizes; the second argument asks for tensors without storage.
Tracer = Callable[[Task, Sizes, bool], Any]

Path = tuple[int | str, ...]


@dataclass
class Literals:
    """The traces of one task at every workload, made when the first number is asked for."""

    task: Task
    tracer: Tracer
    graph: Graph
    _traces: list[tuple[Sizes, Any]] = field(default_factory=list)
    _modules: list[tuple[Sizes, dict[str, tuple[int, ...]]]] = field(default_factory=list)

    def number(self, position: int, path: Path, where: str) -> Expression:
        """The argument at `path` of the call at `position` of the graph."""
        found = self._found(position, path, where)
        return self._fit([int(v) for v, _ in found], [given for _, given in found], where)

    def scalar(self, position: int, path: Path, where: str) -> Value | None:
        """A number that follows from the sizes as a value: `sqrt(D)`; None for a constant."""
        found = self._found(position, path, where)
        values = [float(v) for v, _ in found]
        if len(set(values)) == 1:
            return None
        tables = [self.graph.sizes(given) for _, given in found]
        for operation, integer in _FORMS.items():
            whole = [integer(v) if v > 0 else -1.0 for v in values]
            if all(abs(w - round(w)) <= 1e-9 * w for w in whole):
                expression = fit([round(w) for w in whole], tables, set(self.task.bench))
                if expression is not None:
                    return _value(operation, IndexValue("float32", expression))
        shown = ", ".join(map(str, dict.fromkeys(values)))
        raise UnsupportedError(
            f"a number that is {shown} at the task's workloads follows from the named sizes in no "
            f"way that mkgen knows (a size, its root, or one over them){where}"
        )

    def _found(self, position: int, path: Path, where: str) -> list[tuple[Any, Sizes]]:
        values = []
        for given, program in self._every_trace(where):
            try:
                found: Any = _calls(program)[position]
                found = found.kwargs[path[0]] if isinstance(path[0], str) else found.args[path[0]]
                for step in path[1:]:
                    found = found[step]
            except (IndexError, KeyError, TypeError):
                raise UnsupportedError(
                    f"the reference calls an operation with other arguments at other sizes{where}"
                ) from None
            values.append((found, given))
        return values

    def dimension(self, tensor: str, axis: int, where: str) -> Expression:
        """Dimension `axis` of a parameter, buffer or constant of the traced module."""
        shapes = self._every_module()
        if any(tensor not in known for _, known in shapes):  # a constant of the trace
            shapes = [
                (given, {tensor: tuple((p.state_dict | p.constants)[tensor].shape)})
                for given, p in self._every_trace(where)
            ]
        values = [known[tensor][axis] for _, known in shapes]
        return self._fit(values, [given for given, _ in shapes], f" (parameter {tensor}){where}")

    def _fit(self, values: Sequence[int], sizes: Sequence[Sizes], where: str) -> Expression:
        tables = [self.graph.sizes(given) for given in sizes]
        found = fit(values, tables, set(self.task.bench))
        if found is None:
            shown = ", ".join(map(str, dict.fromkeys(values)))
            raise UnsupportedError(
                f"a size that is {shown} at the task's workloads follows from the named sizes in "
                f"no way that mkgen knows; name it as a size of the task{where}"
            )
        return found

    def _every_trace(self, where: str) -> list[tuple[Sizes, Any]]:
        if self._traces:
            return self._traces
        made = [(w.sizes, self._trace(w.sizes, w.role)) for w in self.task.workloads()]
        traces = [(given, program) for given, program in made if program is not None]
        first = [str(n.target) for n in _calls(traces[0][1])]
        for given, program in traces[1:]:
            if [str(n.target) for n in _calls(program)] != first:
                told = ", ".join(f"{k}={v}" for k, v in given.items())
                raise UnsupportedError(
                    f"the reference runs other operations at {told} than at its other workloads; "
                    f"one text cannot serve both{where}"
                )
        self._traces = traces
        return traces

    def _trace(self, sizes: Sizes, role: str) -> Any:
        try:
            return self.tracer(self.task, sizes, True)
        except MkgenError:
            # Some references read values while they are built; those need real numbers, which
            # are too many at the size of a bench.
            return None if role == "bench" else self.tracer(self.task, sizes, False)

    def _every_module(self) -> list[tuple[Sizes, dict[str, tuple[int, ...]]]]:
        if not self._modules:
            self._modules = [(w.sizes, self._shapes(w.sizes)) for w in self.task.workloads()]
        return self._modules

    def _shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        import torch
        from torch._subclasses.fake_tensor import FakeTensorMode

        try:
            with FakeTensorMode():
                module = self.task.module(sizes)
        except Exception:  # of the user's constructor; it may read values, which fakes have not
            module = self.task.module(sizes)
        if not isinstance(module, torch.nn.Module):
            return {}
        return {name: tuple(t.shape) for name, t in module.state_dict(keep_vars=True).items()}


#: How a number may follow from a whole one, and the way back.
_FORMS: dict[str, Callable[[float], float]] = {
    "": lambda v: v,
    "sqrt": lambda v: v * v,
    "reciprocal": lambda v: 1 / v,
    "rsqrt": lambda v: 1 / (v * v),
}


def _value(operation: str, size: IndexValue) -> Value:
    if operation == "reciprocal":
        return Apply(size.dtype, "div", (Constant(size.dtype, 1.0), size))
    return Apply(size.dtype, operation, (size,)) if operation else size


def _calls(program: Any) -> list[Any]:
    return [n for n in program.graph.nodes if n.op == "call_function"]


def fit(
    values: Sequence[int], tables: Sequence[Mapping[str, int]], own: set[str] | None = None
) -> Expression | None:
    """The simplest expression over the sizes of `tables` that is `values[i]` in `tables[i]`.

    A number that is always the same stays a number, unless one size alone, of those in `own`, has
    that value everywhere. None when nothing fits.
    """
    names = [n for n in tables[0] if all(n in t for t in tables)]
    columns = {n: [t[n] for t in tables] for n in names}
    if len(set(values)) == 1:
        same = [n for n in names if (own is None or n in own) and columns[n] == list(values)]
        return Name(same[0]) if len(same) == 1 and values[0] > 1 else Int(values[0])
    for expression, column in _options(values, columns):
        if column == list(values):
            return expression
    return None


def _options(
    values: Sequence[int], columns: Mapping[str, list[int]]
) -> Iterator[tuple[Expression, list[int]]]:
    """Expressions worth trying, simplest first, with their values."""
    simple: list[tuple[Expression, list[int]]] = [(Name(n), c) for n, c in columns.items()]
    yield from simple
    yield from _scaled(values, simple)
    pairs = list(itertools.combinations(simple, 2))
    products = [(a * b, _zip(_times, x, y)) for (a, x), (b, y) in pairs]
    products += [(a * a, _zip(_times, x, x)) for a, x in simple]
    yield from products
    for (a, x), (b, y) in itertools.permutations(simple, 2):
        yield a // b, _zip(_over, x, y)
    yield from _shifted(values, simple)
    for (a, x), (b, y) in itertools.permutations(simple, 2):
        yield a + b, [p + q for p, q in zip(x, y, strict=True)]
        yield a - b, [p - q for p, q in zip(x, y, strict=True)]
    yield from _scaled(values, products)
    for (a, x), (b, y) in itertools.product(products, simple):
        yield a // b, _zip(_over, x, y)
        yield a * b, _zip(_times, x, y)
    for (a, x), (b, y) in itertools.permutations(simple, 2):
        for shifted, column in _shifted(values, [(a, x)], y):
            yield shifted * b, column
    scaled = list(_halves(simple))
    yield from _shifted(values, scaled)
    yield from _shifted(values, products)


def _scaled(
    values: Sequence[int], terms: Sequence[tuple[Expression, list[int]]]
) -> Iterator[tuple[Expression, list[int]]]:
    """A whole multiple, or a part, of each term: the factor follows from the first value."""
    for term, column in terms:
        if column[0] and values[0] % column[0] == 0:
            factor = values[0] // column[0]
            yield Int(factor) * term, [factor * v for v in column]
        if values[0] and column[0] % values[0] == 0:
            factor = column[0] // values[0]
            yield term // Int(factor), [v // factor for v in column]
        if values[0] > 0:
            for factor in range(2, 17):
                yield term // Int(factor), [v // factor for v in column]
                yield (term + (factor - 1)) // Int(factor), [-(-v // factor) for v in column]


def _halves(
    terms: Sequence[tuple[Expression, list[int]]],
) -> Iterator[tuple[Expression, list[int]]]:
    for term, column in terms:
        for factor in (2, 3, 4, 8):
            yield Int(factor) * term, [factor * v for v in column]
            yield term // Int(factor), [v // factor for v in column]


def _shifted(
    values: Sequence[int],
    terms: Sequence[tuple[Expression, list[int]]],
    divisors: Sequence[int] | None = None,
) -> Iterator[tuple[Expression, list[int]]]:
    """Each term plus a constant that follows from the first value; times `divisors` if given."""
    for term, column in terms:
        factors = list(divisors) if divisors is not None else [1] * len(column)
        if factors[0] == 0 or values[0] % factors[0]:
            continue
        shift = values[0] // factors[0] - column[0]
        if shift:
            yield term + shift, [(v + shift) * f for v, f in zip(column, factors, strict=True)]


def _zip(function: Callable[[int, int], int], x: Sequence[int], y: Sequence[int]) -> list[int]:
    return [function(a, b) for a, b in zip(x, y, strict=True)]


def _times(a: int, b: int) -> int:
    return a * b


def _over(a: int, b: int) -> int:
    return a // b if b else -1
