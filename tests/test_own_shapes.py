"""Shapes and dtypes that a user asks for: drawn at random, generated for, and run at those sizes.

Each example is what `mkgen eval --task T --shape … --dtype D --backend B` does: parameters are
chosen for the shape, and the program runs on a CPU at that shape and no other. The seed is printed;
MKGEN_SHAPE_SEED takes another, MKGEN_SHAPE_COUNT another number of shapes. MKGEN_SHAPE_DEVICE=1 is
for the NVIDIA GPU of this machine, where programs for it run instead:

    MKGEN_SHAPE_DEVICE=1 pytest -m acceptance tests/test_own_shapes.py -n 16 -k "not sycl"
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from matrix_support import BACKENDS, default_target

from mkgen.cli.request import resolve_task
from mkgen.codegen.candidate import Generator, scales
from mkgen.codegen.registry import backend_named
from mkgen.errors import UserError
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.oracle import Judge
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import Settings, evaluate
from mkgen.record import Record, Status
from mkgen.target import Target
from mkgen.task import Sizes, Task, find_task
from mkgen.tune.choose import choose

DEVICE = os.environ.get("MKGEN_SHAPE_DEVICE") == "1"
GPU = {"cuda": "sm_90a", "hip": "sm_90", "triton": "sm_90", "opencl": "sm_90", "pallas": "sm_90"}
SEED = int(os.environ.get("MKGEN_SHAPE_SEED", "20"))
COUNT = int(os.environ.get("MKGEN_SHAPE_COUNT", "20"))
DTYPES = ("float32", "float16", "bfloat16")

_ROWS = {"ROWS": (1, 60), "COLS": (1, 700)}
_IMAGE = {"N": (1, 3), "C": (1, 9), "H": (3, 24), "W": (3, 24)}
_PRODUCT = {"M": (1, 200), "N": (1, 200), "K": (1, 160)}
_FILTERS = {"K": (1, 70), "R": (1, 3), "S": (1, 3)}
#: By task, the smallest and largest of each size.
RANGES: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "relu": _ROWS, "bias_gelu": _ROWS, "softmax": _ROWS, "layer_norm": _ROWS, "argmax": _ROWS,
    "sum_reduce": _ROWS, "matmul": _PRODUCT, "linear_relu": _PRODUCT, "max_pool2d": _IMAGE,
    "conv2d": _IMAGE | _FILTERS, "conv2d_bias_relu": _IMAGE | _FILTERS,
    "embedding": {"B": (1, 9), "T": (1, 40), "V": (1, 60), "D": (1, 90)},
}  # fmt: skip


def sizes_of(task: str) -> st.SearchStrategy[Sizes]:
    """Legal sizes of `task`, the ends of each range among them."""
    return st.fixed_dictionaries({n: st.integers(*ends) for n, ends in RANGES[task].items()})


def asked_for(task: str, sizes: Sizes, dtype: str) -> Task:
    """The task as the command line makes it, with the sizes asked for as the only held-out ones.

    They are the only check sizes, too, so that every schedule runs them; but where so small a shape
    tells no control from a right answer (one value, which is zero), the task's own first ones.
    """
    inputs = find_task(task).inputs
    known = find_task(task).bench | sizes
    shapes = [f"{n}={','.join(map(str, t.resolve(known)))}" for n, t in inputs.items()]
    made = resolve_task(task, shapes, dtype)
    assert made.bench == known
    assert made.heldout[-1] == known, "so small a shape must itself be run"
    alone = made.model_copy(update={"check": (known,), "heldout": (known,)})
    if not Judge(scales, seed=SEED).controls(alone, alone.precision):
        return alone
    return made.model_copy(update={"check": made.check[:1], "heldout": (known,)})


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Task, str], Record]]:
    """The record of the candidate that is chosen for a task on a backend."""
    directory = tmp_path_factory.mktemp("cache")
    cache = CompileCache(directory)
    with pytest.MonkeyPatch.context() as patch, Workers(2) as workers:
        patch.setenv("MKGEN_CACHE", str(directory))
        how = Settings(Judge(scales, seed=SEED), cache, emulate=not DEVICE, device=DEVICE)

        def judge(task: Task, backend: str) -> Record:
            target = Target(backend=backend, arch=GPU[backend]) if DEVICE else None
            made = Generator(task, backend_named(backend), target or default_target(backend))
            choices, _ = choose(made, workers, cache, compile_count=1)
            return evaluate(choices[0].candidate, workers, how)

        yield judge


def fault(record: Record) -> str:
    """Why the record does not show that the shape asked for is right; empty when it does.

    The record of one shape may lack the flag `emulated`: a row of 3 values has no loop of two
    rounds. What is asked here is that every run at that shape gave the right numbers.
    """
    if record.status not in (Status.PASS, Status.EVIDENCE_MISSING):
        return f"{record.status.value}: {record.reason[:300]}"
    runs = [r for r in record.results if r.role == "heldout"]
    wrong = [f"{r.executor} {r.schedule}: {r.status.value} {r.message[:200]}" for r in runs
             if r.status is not Status.PASS]  # fmt: skip
    return "; ".join(wrong) or ("" if runs else f"it was not run: {record.reason[:300]}")


def run(
    judged: Callable[[Task, str], Record], task: str, dtype: str, backend: str, count: int
) -> None:
    """Judges `count` shapes; says every one, and fails with all that are wrong."""
    wrong: list[str] = []

    @seed(SEED)
    @settings(
        max_examples=count, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(sizes_of(task))
    def example(sizes: Sizes) -> None:
        found = fault(judged(asked_for(task, sizes, dtype), backend))
        print(f"{task} {dtype} {backend} {sizes}: {found or 'right'}", flush=True)
        if found:
            wrong.append(f"{sizes}: {found}")

    print(f"\nMKGEN_SHAPE_SEED={SEED}")
    example()
    assert not wrong, "\n".join(wrong)


@pytest.mark.acceptance
@pytest.mark.timeout(0)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("task", RANGES)
def test_random_shapes(
    judged: Callable[[Task, str], Record], task: str, dtype: str, backend: str
) -> None:
    run(judged, task, dtype, backend, COUNT)


@pytest.mark.parametrize(
    ("task", "dtype", "backend"),
    [
        ("softmax", "bfloat16", "cuda"),
        ("matmul", "float16", "triton"),
        ("max_pool2d", "float32", "hip"),
        ("embedding", "float16", "cuda"),
    ],
)
def test_a_few_random_shapes(
    judged: Callable[[Task, str], Record], task: str, dtype: str, backend: str
) -> None:
    run(judged, task, dtype, backend, 3)  # the first of them is always the smallest


def test_a_wrong_kernel_is_not_called_right(judged: Callable[[Task, str], Record]) -> None:
    """The verdict of these tests rests on `fault`: a run that failed must not pass it."""
    record = judged(asked_for("relu", {"ROWS": 3, "COLS": 5}, "float32"), "cuda")
    assert fault(record) == ""
    (first, *rest) = [r for r in record.results if r.role == "heldout"]
    broken = first.model_copy(update={"status": Status.WRONG_OUTPUT})
    assert "wrong-output" in fault(record.model_copy(update={"results": (broken, *rest)}))
    assert "not run" in fault(record.model_copy(update={"results": ()}))


ILLEGAL = [
    ("relu", ["x=3"], "2 sizes, not 1"),
    ("relu", ["x=3,0"], "at least 1"),
    ("relu", ["x=-3,4"], "at least 1"),
    ("relu", ["x=3,4.5"], "not a list of integers"),
    ("relu", ["y=3,4"], "no input 'y'"),
    ("relu", ["x=3,4", "x=3,4"], "given twice"),
    ("matmul", ["a=3,4", "b=5,6"], "K cannot be 5"),
    ("linear_relu", ["x=3,4", "weight=5,6"], "K cannot be"),
    ("conv2d", ["x=1,2,3,3", "weight=4,3,3,3"], "C cannot be"),
    ("max_pool2d", ["x=1,2,3"], "4 sizes, not 3"),
    ("layer_norm", ["x=3,4", "bias=5"], "COLS cannot be 5"),
]


@pytest.mark.parametrize(("task", "shapes", "told"), ILLEGAL)
def test_illegal_shapes_are_refused(task: str, shapes: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        resolve_task(task, shapes)


@given(st.sampled_from(sorted(RANGES)), st.data())
@seed(SEED)
@settings(max_examples=25, deadline=None, database=None)
def test_sizes_that_contradict_each_other_are_refused(task: str, data: st.DataObject) -> None:
    """One size more or less in one place that shares a name with another."""
    inputs = find_task(task).inputs
    known = find_task(task).bench | data.draw(sizes_of(task))
    names = [d for t in inputs.values() for d in t.dimensions()]
    shared = sorted({n for n in names if names.count(n) > 1})
    if not shared:
        return
    wrong = data.draw(st.sampled_from(shared))
    shapes, seen = [], 0
    for name, tensor in inputs.items():
        values = []
        for dimension, value in zip(tensor.dimensions(), tensor.resolve(known), strict=True):
            seen += dimension == wrong
            values.append(value + (dimension == wrong and seen == 2))
        shapes.append(f"{name}={','.join(map(str, values))}")
    with pytest.raises(UserError, match=f"{wrong} cannot be"):
        resolve_task(task, shapes)


@pytest.mark.parametrize(
    ("dtype", "told"),
    [("int32", "floating-point"), ("float8", "no dtype 'float8'"), ("complex64", "no dtype")],
)
def test_illegal_dtypes_are_refused(dtype: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        resolve_task("relu", (), dtype)
