"""What counts as right: budgets, masks, indices, controls, precision classes, drawn inputs."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import torch

from mkgen.codegen.candidate import scales
from mkgen.errors import UserError
from mkgen.evaluate import compare as comparing
from mkgen.evaluate.arrays import load_arrays, save_arrays
from mkgen.evaluate.compare import Expected, IndexOutput, blocks, compare
from mkgen.evaluate.inputs import draw, reference_call, to_numpy, to_torch
from mkgen.evaluate.oracle import Judge, _rounded
from mkgen.program import PrecisionClass
from mkgen.task import Task, Tensor, find_task

STRICT = PrecisionClass.STRICT
F32 = np.dtype(np.float32)


def expected(oracle, dtype=F32, own=0.0, floor=1e-3, index=None):
    return Expected("output", "", np.dtype(dtype), oracle, own, np.asarray(floor), index)


def matmul_task(k=1024):
    sizes = {"M": 64, "N": 48, "K": k}
    return Task(
        name="mm",
        category="matmul",
        reference=torch.matmul,
        inputs={"a": Tensor("M, K"), "b": Tensor("K, N")},
        bench=sizes,
        check=(sizes,),
        heldout=(sizes,),
        source=f"matmul {k}",
    )


def matmul_scales(task, workload, inputs):
    a, b = (np.abs(inputs[n].astype(np.float64)) for n in ("a", "b"))
    return [(a @ b, float(a.shape[1]))]


def blocked(a, b):
    """A float32 product summed in blocks of 32 along K, one addition after another."""
    total = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for start in range(0, a.shape[1], 32):
        part = np.zeros_like(total)
        for k in range(start, min(start + 32, a.shape[1])):
            part += a[:, k : k + 1] * b[k]
        total += part
    return total


@pytest.mark.parametrize("k", [8, 77, 1024])
def test_tf32_fails_strict_and_blocked_float32_passes(k):
    task, judge = matmul_task(k), Judge(matmul_scales)
    case = judge.case(task, task.workloads()[1], STRICT)
    assert not case.ill_conditioned
    a, b = case.inputs["a"], case.inputs["b"]
    good = judge.check(case, [blocked(a, b)])
    assert good.ok, good.message
    assert 0 < good.figures.share < 1
    coarse = [_rounded(x, PrecisionClass.TF32) for x in (a, b)]
    bad = judge.check(case, [blocked(*coarse)])
    assert not bad.ok
    assert bad.figures.share > 10
    relaxed = judge.case(task, task.workloads()[1], PrecisionClass.TF32)
    assert judge.check(relaxed, [blocked(*coarse)]).ok
    coarser = [_rounded(x, PrecisionClass.BF16) for x in (a, b)]
    assert not judge.check(relaxed, [blocked(*coarser)]).ok
    loose = judge.case(task, task.workloads()[1], PrecisionClass.BF16)
    assert judge.check(loose, [blocked(*coarser)]).ok
    assert not loose.ill_conditioned


def test_rounding_of_operands_is_to_nearest_even():
    values = np.array([1 + 2.0**-11, 1 + 3 * 2.0**-11, np.inf, -np.inf, 1.0], np.float32)
    rounded = _rounded(values, PrecisionClass.TF32)
    assert rounded.tolist() == [1.0, 1 + 2 * 2.0**-10, np.inf, -np.inf, 1.0]
    assert np.isnan(_rounded(np.array([np.nan], np.float32), PrecisionClass.BF16)).all()
    noise = np.random.default_rng(0).standard_normal(1000, dtype=np.float32)
    same = noise.astype(ml_dtypes.bfloat16).astype(np.float32)
    assert (_rounded(noise, PrecisionClass.BF16) == same).all()


def test_special_values_must_stand_where_the_oracle_has_them():
    oracle = np.array([np.nan, np.inf, -np.inf, 1e300, -1e300, 1.0])
    right = np.array([np.nan, np.inf, -np.inf, np.inf, -np.inf, 1.0], np.float32)
    assert compare(expected(oracle), right).ok
    for at in range(6):
        for wrong in (np.nan, np.inf, -np.inf, 0.0):
            changed = right.copy()
            changed[at] = wrong
            same = changed.tobytes() == right.tobytes()
            assert compare(expected(oracle), changed).ok == same, (at, wrong)


@pytest.mark.parametrize(
    ("dtype", "scale", "may"),
    [("float32", 2.0**-128, True), ("bfloat16", 2.0**-128, True), ("float32", 2.0**-100, False),
     ("float64", 2.0**-1030, False)],
)  # fmt: skip
def test_a_denormal_answer_may_be_zero_and_nothing_else_may(dtype, scale, may):
    """As a TPU gives it. A softmax far below its maximum has such answers in the plain draw."""
    sizes = {"N": 40}
    task = Task(
        name="scaled",
        category="math",
        reference=lambda x: x * scale,
        inputs={"x": Tensor("N", dtype, distribution="uniform", low=1, high=2)},
        bench=sizes,
        check=(sizes,),
        heldout=(sizes,),
        source="scaled",
    )
    judge = Judge(lambda t, w, i: [(np.zeros(1), 1.0)])
    (right,) = judge.case(task, task.workloads()[0], STRICT).expected
    assert compare(right, np.zeros(40, right.dtype)).ok == may
    assert compare(right, -np.zeros(40, right.dtype)).ok == may
    wrong = right.oracle.astype(right.dtype)
    assert compare(right, wrong).ok
    for factor in (-1, 0.5, 2):  # as near to the answer as zero is
        changed = wrong.copy()
        changed[7] = factor * wrong[7]
        assert changed[7] != 0 and not compare(right, changed).ok, factor
    single = expected(np.array(2.0**-128), dtype, floor=0)
    assert compare(single, np.zeros((), right.dtype)).ok == (dtype != "float64")


def test_an_infinite_scale_allows_nothing():
    oracle = np.ones(3)
    got = np.array([1, 2, 1], np.float32)
    for floor in (np.inf, np.nan):
        assert not compare(expected(oracle, floor=np.array([0.1, floor, 0.1])), got).ok


def test_blocks_cover_all_and_the_first_wrong_element_is_named(monkeypatch):
    monkeypatch.setattr(comparing.blocks, "__defaults__", (7,))
    for shape in ((), (5,), (3, 4), (2, 3, 20), (0, 3), (1, 50)):
        seen = np.zeros(shape, int)
        for block in blocks(shape):
            seen[block] += 1
        assert (seen == 1).all()
    oracle = np.arange(60.0).reshape(3, 20)
    got = oracle.astype(np.float32)
    got[1, 13] += 1
    got[2, 2] += 5
    outcome = compare(expected(oracle, floor=np.full((1, 20), 1e-3)), got)
    assert "output[1, 13]: expected 33, got 34; error 1, allowed 0.001" in outcome.message
    assert outcome.figures.max_abs == 5
    assert outcome.figures.share == pytest.approx(5000)


def test_integers_and_bools_are_exact():
    oracle = np.array([1, 2, 3])
    assert compare(expected(oracle, np.int64), oracle.copy()).ok
    outcome = compare(expected(oracle, np.int64), np.array([1, 5, 3]))
    assert "output[1]: expected 2, got 5" in outcome.message
    assert outcome.figures.max_abs == 3
    truth = np.array([True, False])
    assert not compare(expected(truth, np.bool_), ~truth).ok


def test_index_ties():
    values = np.array([[1.0, 3.0, 3.0, 2.0], [5.0, 4.9999, 0.0, 5.0]])
    want = np.array([1, 0])
    judged = expected(want, np.int64, index=IndexOutput(values, 1, 1e-3))
    for got, ok in (
        ([1, 0], True), ([2, 3], True), ([2, 1], True), ([3, 0], False), ([1, 2], False),
        ([-1, 0], False), ([1, 4], False),
    ):  # fmt: skip
        assert compare(judged, np.array(got)).ok == ok, got
    assert "outside [0, 4)" in compare(judged, np.array([9, 0])).message
    exact = expected(want, np.int64)
    assert not compare(exact, np.array([2, 0])).ok


def test_the_best_element_twice_is_not_the_best_two():
    values = np.array([[3.0, 3.0, 3.0, 0.0]])
    judged = expected(np.array([[0, 1]]), np.int64, index=IndexOutput(values, 1, 0.0))
    assert compare(judged, np.array([[2, 0]])).ok
    assert not compare(judged, np.array([[2, 2]])).ok


def test_infinite_ties_of_an_index_do_not_hide_a_wrong_one():
    values = np.array([[-np.inf, -np.inf, -np.inf]])
    judged = expected(np.array([0]), np.int64, index=IndexOutput(values, 1, 0.0))
    assert compare(judged, np.array([0])).ok


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_dtypes_have_a_budget_that_the_reference_meets(dtype):
    task = matmul_task(64)
    inputs = {n: Tensor(t.shape, dtype=dtype) for n, t in task.inputs.items()}
    task = task.model_copy(update={"inputs": inputs})
    judge = Judge(matmul_scales)
    case = judge.case(task, task.workloads()[1], STRICT)
    assert case.expected[0].dtype.name == dtype
    assert not case.ill_conditioned
    own = torch.matmul(*(to_torch(case.inputs[n]) for n in ("a", "b")))
    assert judge.check(case, [to_numpy(own)]).ok


def test_ill_conditioned():
    def cancel(x):
        return torch.sin(x * 1e8)

    task = Task(
        name="cancel", category="math", reference=cancel, inputs={"x": Tensor("N")},
        bench={"N": 9}, check=({"N": 99},), heldout=(), source="cancel",
    )  # fmt: skip
    judge = Judge(lambda t, w, i: [(np.ones(1), 1.0)])
    assert "PyTorch itself is off" in judge.case(task, task.workloads()[1], STRICT).ill_conditioned


def test_controls_reject_a_task_whose_budget_lets_zeros_pass():
    task = matmul_task(16)
    assert Judge(matmul_scales).controls(task, STRICT) == ""
    generous = Judge(lambda t, w, i: [(np.full((1, 1), 1e12), 16.0)])
    verdict = generous.controls(task, STRICT)
    assert verdict.startswith("check1: the answer zero everywhere passes for output")


def test_controls_reject_constant_answers_and_empty_ones():
    def constant(x):
        return torch.ones_like(x) * 3

    base = {"category": "math", "inputs": {"x": Tensor("N")}, "bench": {"N": 9}, "heldout": ()}
    judge = Judge(lambda t, w, i: [(np.ones(1), 1.0)])
    task = Task(name="c", reference=constant, check=({"N": 9},), source="c", **base)
    assert "the mean of the right answer passes" in judge.controls(task, STRICT)
    task = Task(name="e", reference=torch.relu, check=({"N": 0},), source="e", **base)
    assert "no elements" in judge.controls(task, STRICT)
    task = Task(name="n", reference=torch.relu, check=(), source="n", **base)
    assert "no check workload" in judge.controls(task, STRICT)


@pytest.mark.parametrize("name", ["relu", "argmax", "embedding", "max_pool2d", "sum_reduce"])
def test_the_shipped_tasks_pass_their_controls(name):
    task = find_task(name)
    judge = Judge(lambda t, w, i: [(np.ones(()), 64.0)])
    assert judge.controls(task, STRICT) == ""


class Block(torch.nn.Module):
    """Normalises in training, so that it mutates its state."""

    def __init__(self, channels):
        super().__init__()
        self.inner = torch.nn.Linear(channels, channels)
        self.norm = torch.nn.BatchNorm1d(channels)

    def forward(self, x):
        return self.norm(self.inner(x))


def test_parameters_and_mutated_state_of_a_module():
    task = Task(
        name="block", category="normalization", reference=Block, init={"channels": "C"},
        inputs={"x": Tensor("N, C")}, bench={"N": 8, "C": 4}, check=({"N": 6, "C": 3},),
        heldout=(), source="block",
    )  # fmt: skip
    held = reference_call(task, {"N": 6, "C": 3}).parameters
    assert list(held) == [
        "inner_weight", "inner_bias", "norm_weight", "norm_bias", "norm_running_mean",
        "norm_running_var", "norm_num_batches_tracked",
    ]  # fmt: skip
    assert np.ptp(held["norm_weight"]) > 0, "a weight of ones would not be missed"
    assert (held["norm_running_var"] >= 1).all()
    judge = Judge(lambda t, w, i: [(np.ones(1), 6.0)])
    case = judge.case(task, task.workloads()[1], STRICT)
    states = [e.state for e in case.expected]
    assert states == ["", "norm_running_mean", "norm_running_var", "norm_num_batches_tracked"]
    # it does not start at 0: an answer of one, whoever gives it, must be wrong
    assert case.expected[3].oracle == case.inputs["norm_num_batches_tracked"] + 1 > 2
    # the module under test is untouched by oracle and own runs
    assert case.inputs["norm_num_batches_tracked"] == held["norm_num_batches_tracked"]
    assert judge.controls(task, STRICT) == ""


def test_draws_are_reproducible_independent_and_typed():
    task = Task(
        name="d", category="math", reference=torch.add,
        inputs={
            "a": Tensor("N"), "b": Tensor("N"), "h": Tensor("N", dtype="bfloat16"),
            "u": Tensor("N", distribution="uniform", low=2, high=4),
            "i": Tensor("N", dtype="int64", distribution="integers", high="2 * N"),
            "t": Tensor("N", dtype="bool"), "s": Tensor(""),
        },
        bench={"N": 1000}, check=({"N": 1000},), heldout=(), source="d",
    )  # fmt: skip
    workload = task.workloads()[0]
    one, two = draw(task, workload, 1), draw(task, workload, 1)
    assert all(one[n].tobytes() == two[n].tobytes() for n in one)
    other = draw(task, workload, 2)
    assert all(one[n].tobytes() != other[n].tobytes() for n in one)
    assert one["a"].tobytes() != one["b"].tobytes()
    assert {n: a.dtype.name for n, a in one.items()} == {n: t.dtype for n, t in task.inputs.items()}
    assert one["s"].shape == ()
    assert 2 <= one["u"].min() < one["u"].max() < 4
    assert 1000 < one["i"].max() < 2000
    bad = task.model_copy(update={"inputs": {"i": Tensor("N", dtype="int32")}})
    with pytest.raises(UserError, match='distribution="integers"'):
        draw(bad, workload, 1)


def test_arrays_between_processes(tmp_path):
    arrays = {
        "x": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "h": np.arange(4).astype(ml_dtypes.bfloat16),
        "flag": np.array([True, False]),
        "scalar": np.array(3.0),
        "empty": np.zeros((0, 3), np.int8),
    }
    save_arrays(tmp_path / "a", arrays)
    back = load_arrays(tmp_path / "a")
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert (back[name] == array).all()


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ('[{"name":"x","dtype":"float32","shape":[3],"file":"0.bin"}]', "bytes"),
        ('[{"name":"x","dtype":"object","shape":[1],"file":"0.bin"}]', "dtype"),
        ('[{"name":"x","dtype":"float32","shape":[-1],"file":"0.bin"}]', "shape"),
        ('[{"name":"x","dtype":"float32","shape":[2],"file":"../0.bin"}]', "outside"),
        ('[{"name":"x","dtype":"float32","shape":[2],"file":"pipe"}]', "regular"),
        ('[{"name":"x","dtype":"float32","shape":[2],"file":"link"}]', "symbolic"),
        ("[1]", "TypeError"),
        ("{", "JSON"),
    ],
)
def test_arrays_of_a_strange_process_are_not_believed(tmp_path, index, reason):
    import os

    from mkgen.errors import ExecutionError

    (tmp_path / "0.bin").write_bytes(b"12345678")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("0.bin")
    (tmp_path / "index.json").write_text(index)
    with pytest.raises(ExecutionError, match=reason):
        load_arrays(tmp_path)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_sixteen_bit_output_that_is_cut_off_is_refused(dtype):
    """No element is off by more than its budget; all of them together are."""
    name = np.dtype(dtype).name
    task = find_task(f"matmul_{'fp16' if name == 'float16' else 'bf16'}")
    workload = next(w for w in task.workloads() if w.role == "check")
    judge = Judge(scales)
    case = judge.case(task, workload, STRICT)
    (output,) = case.expected
    wide = output.oracle.astype(np.float32)
    rounded = wide.astype(dtype)
    assert judge.check(case, [rounded]).ok
    unit = np.spacing(rounded)
    cut = np.where(np.abs(rounded.astype(np.float64)) > np.abs(wide), rounded - unit, rounded)
    verdict = judge.check(case, [cut.astype(dtype)])
    assert not verdict.ok and "not rounded to nearest" in verdict.message
