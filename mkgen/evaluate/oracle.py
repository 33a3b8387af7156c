"""What is right: the reference in float64, and how far from it PyTorch itself is.

All of it happens in the parent; no worker ever holds an expected value. PyTorch's own error is
measured on its CPU kernels, which sum in blocks, so that no second blocked evaluation is made.
"""

from __future__ import annotations

import copy
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mkgen.errors import UserError
from mkgen.evaluate.arrays import is_floating
from mkgen.evaluate.compare import (
    OWN_FACTOR,
    SPREAD_FACTOR,
    Comparison,
    Expected,
    IndexOutput,
    compare_all,
    epsilon,
)
from mkgen.evaluate.controls import controls_verdict
from mkgen.evaluate.inputs import Inputs, Reference, draw, reference_call, to_numpy, to_torch
from mkgen.evaluate.own_error import largest, own_error, own_share, own_spread
from mkgen.evaluate.structured import (
    NO_INPUT,
    PATTERNS,
    flushed,
    hangs_on_rounding,
    leaves_range,
    smallest,
    smallest_normal,
    thin,
    vary,
)
from mkgen.program import PrecisionClass
from mkgen.task import Task, Workload

#: c of the budget's floor, c * eps * sqrt(K) * scale. Fixed once, for every task and backend.
#: Largest error of a 64 x 48 product of normal values, as a share of the budget:
#: K = 77: blocked float32 0.11, sequential 0.18, three bfloat16 products 2.8, TF32 190;
#: K = 1,024: 0.04, 0.29, 0.88, 55. Small K tells more, which is why check sizes have it.
FLOOR_FACTOR = 0.25
#: Own error above this many floors: the reference cannot say what is right.
ILL_CONDITIONED_FACTOR = 100.0
_CACHE_BYTES = 1 << 30
#: Sums of as many denormal numbers, at least, may be zero.
_DENORMALS = 1024.0

Scale = tuple[np.ndarray, float]
ScaleFunction = Callable[[Task, Workload, Inputs], Sequence[Scale]]
"""Per output, in order: the float64 sum of absolute terms of each element (broadcastable to the
output) and K, how many terms it has. Mutated state may follow, or be left out."""
IndexFunction = Callable[[Task, Workload, Inputs], Mapping[int, IndexOutput]]
"""By output position: what an index output points into."""

#: Bits of mantissa that float32 operands lose, by relaxed class. Such a class is judged by the
#: error of the reference on rounded operands; its floor stays float32's, because one with the
#: epsilon of TF32 grows with K * sqrt(K) and lets bfloat16 operands pass from K = 77 on.
_RELAXED = {PrecisionClass.TF32: 13, PrecisionClass.BF16: 16}


@dataclass(frozen=True)
class Case:
    """One workload of a task: what goes in and what must come out."""

    workload: Workload
    inputs: Inputs
    """Inputs, parameters and state, by argument name."""
    expected: tuple[Expected, ...]
    """Returned outputs in order, then state that the reference mutates."""
    ill_conditioned: str
    """Why no candidate can pass; empty when it can."""
    structure: str = ""
    """What kind of values the inputs hold; empty for the plain draw."""
    unfit: str = ""
    """Why these values cannot judge the task, though it may be a good one; empty when they can."""

    @property
    def name(self) -> str:
        """`check1`, `check1 offset`."""
        return f"{self.workload.name} {self.structure}".rstrip()

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        held = sum(a.nbytes for a in self.inputs.values())
        return held + sum(e.nbytes for e in self.expected)


class Judge:
    """Knows what is right, for any number of candidates and threads; keeps what it has computed."""

    def __init__(
        self,
        scales: ScaleFunction,
        index_values: IndexFunction | None = None,
        *,
        seed: int = 0,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        self.seed = seed
        self._scales = scales
        self._index_values = index_values
        self._cache_bytes = cache_bytes
        self._cases: OrderedDict[tuple[str, str, PrecisionClass, int, str], Case] = OrderedDict()
        self._controls: dict[tuple[str, PrecisionClass], str] = {}
        # PyTorch uses every core itself, and two oracles at once would need twice the memory
        self._lock = threading.RLock()

    def case(
        self,
        task: Task,
        workload: Workload,
        precision: PrecisionClass,
        *,
        seed: int | None = None,
        structure: str = "",
    ) -> Case:
        """Inputs and expected outputs. UserError when the reference itself fails.

        `seed` None is the judge's own; `structure` is the name of one of `structured.PATTERNS`.
        """
        chosen = self.seed if seed is None else seed
        key = (task.hash, workload.canonical_json(), precision, chosen, structure)
        with self._lock:
            if key not in self._cases:
                drawn = draw(task, workload, chosen)
                with warnings.catch_warnings():
                    if workload.role == "thin":  # PyTorch warns of what is meant here
                        warnings.simplefilter("ignore")
                    self._cases[key] = self._make(
                        task, workload, precision, drawn, structure, chosen
                    )
                self._shrink()
            self._cases.move_to_end(key)
            return self._cases[key]

    def forget(self, seed: int) -> None:
        """Drops the cases of `seed`, which nobody will ask for again."""
        with self._lock:
            for key in [k for k in self._cases if k[3] == seed]:
                del self._cases[key]

    def structured(
        self, task: Task, precision: PrecisionClass, seed: int | None = None
    ) -> list[Case]:
        """A case per pattern on the smallest check sizes; those that are `unfit` say why."""
        workload = smallest(task)
        if workload is None:
            return []
        made: dict[str, Case] = {}
        for pattern in PATTERNS:
            if pattern.unless not in made or made[pattern.unless].unfit:
                name = pattern.name
                made[name] = self.case(task, workload, precision, seed=seed, structure=name)
        return list(made.values())

    def thin(self, task: Task, precision: PrecisionClass, extent: int) -> Iterator[Workload]:
        """Check sizes with one axis of `extent`, where the reference has a result to judge by."""
        for workload in thin(task, extent):
            try:
                case = self.case(task, workload, precision)
            except (UserError, ArithmeticError, LookupError, ValueError):
                continue  # the reference has no such size, or the nests have not
            if not case.ill_conditioned and not case.unfit:
                yield workload

    def case_of(
        self, task: Task, workload: Workload, precision: PrecisionClass, drawn: Inputs
    ) -> Case:
        """As `case`, for given values of the task's inputs; not kept."""
        with self._lock:
            return self._make(task, workload, precision, drawn)

    def check(self, case: Case, outputs: Sequence[np.ndarray]) -> Comparison:
        """Judges the outputs of one run, in the order of `case.expected`."""
        return compare_all(case.expected, outputs)

    def controls(self, task: Task, precision: PrecisionClass) -> str:
        """Why `task` cannot tell right from wrong; empty when it can."""
        key = (task.hash, precision)
        with self._lock:
            if key not in self._controls:
                checks = [w for w in task.workloads() if w.role == "check"]
                cases = [self.case(task, w, precision) for w in checks]
                self._controls[key] = controls_verdict(cases)
            return self._controls[key]

    def _shrink(self) -> None:
        total = sum(case.nbytes for case in self._cases.values())
        while total > self._cache_bytes and len(self._cases) > 1:
            total -= self._cases.popitem(last=False)[1].nbytes

    def _make(
        self,
        task: Task,
        workload: Workload,
        precision: PrecisionClass,
        drawn: Inputs,
        structure: str = "",
        seed: int = 0,
    ) -> Case:
        """`seed`: what `drawn` came from, where a structure is laid over it."""
        if structure:
            varied = vary(structure, task, workload, drawn, seed)
            if varied is None:
                return Case(workload, {}, (), "", structure, NO_INPUT)
            drawn = varied
        try:
            results = _Results.of(task, workload, precision, drawn)
            expected = self._expected(task, workload, results)
        except UserError as error:
            if not structure:
                raise
            return Case(workload, {}, (), "", structure, str(error))
        ill = _ill_conditioned(expected, workload)
        unfit = ""
        if workload.role == "thin":
            expected = self._as_on_checks(task, precision, expected, seed)
        if structure:
            base = self.case(task, workload, precision, seed=seed)
            zeroed = results.flushed() or results.oracle
            unfit = _unfit(expected, results, zeroed, base.expected) or ill
            expected = tuple(_with_flush(e, z) for e, z in zip(expected, zeroed, strict=True))
            ill = ""
        return Case(workload, results.inputs, expected, ill, structure, unfit)

    def _as_on_checks(
        self, task: Task, precision: PrecisionClass, expected: Sequence[Expected], seed: int
    ) -> tuple[Expected, ...]:
        """`expected` of a thin size with the floor that PyTorch's errors on check sizes call for.

        Of a few elements PyTorch's worst error is an accident: it may be none. Its worst share of
        the floor among the many elements of check sizes, `OWN_FACTOR` times, is what an element
        may have.
        """
        shares = [0.0] * len(expected)
        for workload in task.workloads():
            if workload.role == "check":
                seen = self.case(task, workload, precision, seed=seed).expected
                shares = [max(a, e.own_share) for a, e in zip(shares, seen, strict=True)]
        return tuple(
            replace(e, floor=e.floor * max(1.0, OWN_FACTOR * share))
            for e, share in zip(expected, shares, strict=True)
        )

    def _expected(self, task: Task, workload: Workload, results: _Results) -> tuple[Expected, ...]:
        names, oracle, inputs = results.names, results.oracle, results.inputs
        scales = _scales_of(
            _guarded(task, workload, lambda: self._scales(task, workload, inputs)),
            oracle,
            names.count(""),
            task.name,
        )
        pointed = self._index_values(task, workload, inputs) if self._index_values else {}
        return tuple(
            replace(
                _expected(name, i, oracle[i], results.measured[i], scales[i]),
                index=pointed.get(i),
            )
            for i, name in enumerate(names)
        )


@dataclass(frozen=True)
class _Results:
    """What the reference gives for some inputs: outputs in order, then state that it changed."""

    reference: Reference
    drawn: Inputs
    inputs: Inputs
    """`drawn`, parameters and state."""
    names: list[str]
    """Of the changed state; empty for an output."""
    oracle: list[np.ndarray]
    measured: list[list[np.ndarray]]
    """PyTorch's own result in the task's dtype; of a relaxed class, on rounded operands too."""

    @staticmethod
    def of(task: Task, workload: Workload, precision: PrecisionClass, drawn: Inputs) -> _Results:
        """UserError when the reference fails."""
        reference = _guarded(task, workload, lambda: reference_call(task, workload.sizes))
        inputs = {**drawn, **reference.parameters}
        own, mutated = _guarded(task, workload, lambda: _evaluate(reference, drawn, wide=False))
        oracle, states = _guarded(task, workload, lambda: _evaluate(reference, drawn, wide=True))
        names = [""] * len(own) + [n for n, v in mutated.items() if _differs(v, inputs[n])]
        own += [mutated[n] for n in names if n]
        oracle += [states[n] for n in names if n]
        relaxed: list[np.ndarray] = []
        if precision in _RELAXED:
            rounded = {n: _rounded(a, precision) for n, a in drawn.items()}
            coarse = _coarse(reference, precision)
            relaxed, held = _guarded(task, workload, lambda: _evaluate(coarse, rounded, wide=False))
            relaxed += [held[n] for n in names if n]
        measured = [[o, *relaxed[i : i + 1]] for i, o in enumerate(own)]
        return _Results(reference, drawn, inputs, names, oracle, measured)

    def flushed(self) -> list[np.ndarray]:
        """The oracle of a device that takes denormal inputs for zero; empty where none is."""
        zeroed = flushed(self.drawn)
        if all(zeroed[n].tobytes() == a.tobytes() for n, a in self.drawn.items()):
            return []
        outputs, states = _evaluate(self.reference, zeroed, wide=True)
        return outputs + [states[n] for n in self.names if n]


def _with_flush(expected: Expected, zeroed: np.ndarray) -> Expected:
    """`expected` with room for a device that takes denormal numbers for zero.

    `zeroed` is the oracle where it does so with the inputs; the answer may be one, too.
    """
    if not is_floating(expected.dtype):
        return expected
    room = smallest_normal(expected.dtype) + _off(zeroed, expected.oracle)
    return replace(expected, floor=expected.floor + room)


def _off(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nan_to_num(np.abs(one.astype(np.float64) - other), nan=0.0))


def _unfit(
    expected: tuple[Expected, ...],
    results: _Results,
    zeroed: list[np.ndarray],
    base: tuple[Expected, ...],
) -> str:
    """Why the values that gave `results` cannot judge the task; empty when they can.

    NaN and infinities must stand where they stand in the plain draw: out of the range of a dtype,
    an answer depends on the order of the operations. An exact output, an index or a comparison,
    must be the same in float64, else it hangs on a rounding. A device that takes denormal numbers
    for zero (`zeroed`) must be right as well, but for some denormal numbers more or less.
    """
    if [e.label for e in expected] != [e.label for e in base]:
        return "the reference changes other state than for the plain draw"
    for i, output in enumerate(expected):
        own, oracle = results.measured[i][0], results.oracle[i]
        if not is_floating(output.dtype):
            if hangs_on_rounding(oracle, own) or hangs_on_rounding(zeroed[i], own):
                return f"{output.label} is exact and hangs on the last bit of a computed value"
            continue
        if leaves_range(output.dtype, own, oracle, base[i].oracle):
            return f"{output.label} leaves the range of {output.dtype.name}"
        least = _DENORMALS * smallest_normal(output.dtype)
        allowed = np.maximum(output.floor, OWN_FACTOR * output.own_error) + least
        if (_off(zeroed[i], oracle) > allowed).any():
            return f"{output.label} is another one where denormal numbers are taken for zero"
    return ""


def _guarded(task: Task, workload: Workload, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except UserError:
        raise
    except Exception as error:  # a user's reference may raise anything
        raise UserError(
            f"task {task.name}, workload {workload.name}: the reference fails with "
            f"{type(error).__name__}: {error}"
        ) from error


def _evaluate(
    reference: Reference, inputs: Inputs, *, wide: bool
) -> tuple[list[np.ndarray], Inputs]:
    """Outputs in order, and the state afterwards; on private copies, in float64 when `wide`."""
    import torch

    private = reference.copy()
    if wide and isinstance(private.call, torch.nn.Module):
        private.call.double()
    tensors = [to_torch(array) for array in inputs.values()]
    if wide:
        tensors = [t.double() if t.is_floating_point() else t for t in tensors]
    with torch.no_grad():
        result = private.call(*tensors)
    results = result if isinstance(result, tuple | list) else (result,)
    if not results or not all(isinstance(r, torch.Tensor) for r in results):
        kinds = ", ".join(type(r).__name__ for r in results) or "nothing"
        raise UserError(f"a reference returns a tensor or a tuple of tensors, not {kinds}")
    return [to_numpy(r) for r in results], private.state()


def _differs(after: np.ndarray, before: np.ndarray) -> bool:
    return after.tobytes() != before.tobytes()


def _rounded(array: np.ndarray, precision: PrecisionClass) -> np.ndarray:
    """float32 values rounded to nearest even as the matrix units of `precision` do."""
    if array.dtype != np.float32:
        return array
    drop = _RELAXED[precision]
    bits = array.view(np.uint32)
    half = np.uint32((1 << (drop - 1)) - 1)
    carried = bits + half + ((bits >> np.uint32(drop)) & np.uint32(1))
    kept = (carried >> np.uint32(drop)) << np.uint32(drop)
    return np.where(np.isfinite(array), kept.view(np.float32), array)


def _coarse(reference: Reference, precision: PrecisionClass) -> Reference:
    import torch

    coarse = Reference(copy.deepcopy(reference.call), reference.parameters, reference.names)
    if isinstance(coarse.call, torch.nn.Module):
        with torch.no_grad():
            for parameter in coarse.call.parameters():
                parameter.copy_(to_torch(_rounded(to_numpy(parameter), precision)))
    return coarse


def _scales_of(
    given: Sequence[Scale], oracle: list[np.ndarray], returned: int, task: str
) -> list[Scale]:
    if not returned <= len(given) <= len(oracle):
        raise UserError(
            f"task {task} returns {returned} outputs, but scales were given for {len(given)}"
        )
    # state that nobody gave a scale for: one rounding of its own value
    rest = [(np.abs(o), 1.0) for o in oracle[len(given) :]]
    return [*given, *rest]


def _expected(
    state: str,
    position: int,
    oracle: np.ndarray,
    own: list[np.ndarray],
    scale: Scale,
) -> Expected:
    label = f"state {state}" if state else f"output {position + 1}" if position else "output"
    dtype = own[0].dtype
    if any(o.shape != oracle.shape for o in own):
        raise UserError(f"{label} has another shape in float64: {oracle.shape}, {own[0].shape}")
    if not is_floating(dtype):
        # Thresholds and rounding belong to the task's dtype: what PyTorch gives there is right.
        return Expected(label, state, dtype, own[0], 0.0, np.zeros(()))
    oracle = oracle.astype(np.float64, copy=False)
    strict = own_error(oracle, own[0])
    error = max(strict, *(own_error(oracle, o) for o in own))
    # 16-bit floats are computed in float32 and rounded once, to half a unit in the last place
    narrow = dtype.itemsize == 2
    eps = epsilon(np.dtype(np.float32)) if narrow else epsilon(dtype)
    if dtype == np.float64:
        # The oracle is no wider than the output; its own rounding stands for PyTorch's.
        error = max(error, eps * largest(oracle))
    terms, count = scale
    floor = np.abs(np.asarray(terms)) * (FLOOR_FACTOR * eps * float(np.sqrt(count)))
    spread = None
    if narrow:
        floor = floor + np.abs(np.nan_to_num(oracle, posinf=0.0, neginf=0.0)) * epsilon(dtype) / 2
        spread = max(SPREAD_FACTOR * own_spread(oracle, o, floor) for o in own)
    np.broadcast_to(floor, oracle.shape)  # refuse a scale of another shape here, not in a compare
    share = max(own_share(oracle, o, floor) for o in own)
    return Expected(
        label, state, dtype, oracle, error, floor,
        strict_error=strict, own_share=share, spread=spread,
    )  # fmt: skip


def _ill_conditioned(expected: Sequence[Expected], workload: Workload) -> str:
    for output in expected:
        floor = largest(np.asarray(output.floor))
        if is_floating(output.dtype) and output.strict_error > ILL_CONDITIONED_FACTOR * floor:
            off = output.strict_error
            return (
                f"{output.label} on {workload.name}: PyTorch itself is off by {off:.3g}, "
                f"over {ILL_CONDITIONED_FACTOR:g} times the {floor:.3g} that rounding explains; "
                "choose inputs for which the result is well determined"
            )
    return ""
