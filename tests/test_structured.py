"""Structured inputs stay in their domains, judge what they can, and say what they cannot."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from evaluate_support import TASK, pointwise_scales

from mkgen.evaluate.draws import Draws
from mkgen.evaluate.inputs import draw
from mkgen.evaluate.oracle import Judge
from mkgen.evaluate.structured import PATTERNS, flushed, smallest, thin, vary
from mkgen.program import PrecisionClass
from mkgen.task import Task, Tensor

STRICT = PrecisionClass.STRICT
SIZES = {"N": 8, "M": 24}


def make(reference, **inputs):
    return Task(
        name="made", category="math", reference=reference, inputs=inputs, bench={"N": 64, "M": 64},
        check=(SIZES, {"N": 33, "M": 9}), heldout=({"N": 7, "M": 11},), source=repr(inputs),
    )  # fmt: skip


def plain_scales(task, workload, inputs):
    x = np.abs(inputs["x"].astype(np.float64))
    return [(x if x.size else np.zeros(1), 16.0)]


def patterns(task, **settings):
    judge = Judge(settings.pop("scales", plain_scales), **settings)
    return {case.structure: case for case in judge.structured(task, STRICT)}


DOMAINS = {
    "normal": (Tensor("N, M", scale=0.5, shift=3.0), -np.inf, np.inf),
    "range": (Tensor("N, M", distribution="uniform", low=-9, high=0), -9.0, 0.0),
    "positive": (Tensor("N, M", distribution="uniform", scale=0.1), 0.0, 0.1),
    "half": (Tensor("N, M", dtype="float16"), -65504.0, 65504.0),
    "whole": (Tensor("N, M", distribution="integers", low=-4, high=5), -4, 4),
    "index": (Tensor("N", dtype="int64", distribution="integers", high="M"), 0, 23),
    "distinct": (Tensor("N", dtype="int64", distribution="distinct", high="M"), 0, 23),
    "mask": (Tensor("N, M", dtype="bool"), 0, 1),
}


@pytest.mark.parametrize("name", DOMAINS)
def test_no_pattern_leaves_the_domain(name):
    tensor, low, high = DOMAINS[name]
    task = make(lambda x: x, x=tensor)
    workload = smallest(task)
    drawn = draw(task, workload, 3)
    used = []
    for pattern in PATTERNS:
        varied = vary(pattern.name, task, workload, drawn, 3)
        if varied is None:
            continue
        used.append(pattern.name)
        values = varied["x"]
        assert (values.dtype, values.shape) == (drawn["x"].dtype, drawn["x"].shape)
        assert values.tobytes() != drawn["x"].tobytes()
        wide = values.astype(np.float64)
        assert wide.min() >= low and wide.max() <= high and np.isfinite(wide).all()
        if name == "distinct":
            assert len(np.unique(values)) == values.size
    integers = name in ("whole", "index", "distinct", "mask")
    assert set(used) <= ({"equal", "first", "last"} if integers else {p.name for p in PATTERNS[:6]})
    assert len(used) >= 2


def test_what_each_pattern_is_like():
    task = make(lambda x: x, x=Tensor("N, M", shift=3.0))
    workload = smallest(task)
    drawn = draw(task, workload, 0)
    made = {p.name: vary(p.name, task, workload, drawn, 0) for p in PATTERNS}
    x = drawn["x"]
    assert np.allclose(made["offset"]["x"], x * 10 + 5)
    assert np.abs(made["tiny"]["x"]).max() < 1e-5
    assert len(np.unique(made["ties"]["x"])) < 12
    assert (np.signbit(made["zeros"]["x"]) & (made["zeros"]["x"] == 0)).any()
    small = np.abs(made["denormals"]["x"])
    assert ((small > 0) & (small < np.finfo(np.float32).smallest_normal)).any()
    assert np.array_equal(made["negated"]["x"], -x)
    assert made["equal"] is made["first"] is made["last"] is None
    assert not ((np.abs(flushed(made["denormals"])["x"]) > 0) & (small < 1e-38)).any()


def test_a_copy_that_looks_right_on_normal_numbers_is_wrong_far_from_zero():
    """A normalisation of standard normal rows is nearly the rows themselves."""
    task = make(
        lambda x: torch.nn.functional.layer_norm(x, (x.shape[-1],)),
        x=Tensor("N, 4096"),
    )

    def loose(task, workload, inputs):  # as a benchmark with a tolerance of 1e-1 has it
        return [(np.full(1, 1e7), 1.0)]

    judge = Judge(loose)
    plain = judge.case(task, smallest(task), STRICT)
    assert judge.check(plain, [plain.inputs["x"]]).ok
    cases = {c.structure: c for c in judge.structured(task, STRICT) if not c.unfit}
    assert not judge.check(cases["offset"], [cases["offset"].inputs["x"]]).ok


def test_a_device_without_denormal_numbers_is_no_false_alarm():
    cases = patterns(make(lambda x: x * 2, x=Tensor("N, M")))
    case = cases["denormals"]
    assert not case.unfit and "zeros" not in cases
    zeroed = flushed(case.inputs)["x"] * 2
    judge = Judge(plain_scales)
    assert (zeroed != case.inputs["x"] * 2).any()
    assert judge.check(case, [zeroed]).ok
    assert not judge.check(case, [zeroed * 0]).ok


@pytest.mark.parametrize(
    ("reference", "structure", "reason"),
    [
        (lambda x: torch.log(x.abs()), "denormals", "leaves the range|taken for zero"),
        (lambda x: torch.exp(x * 20), "offset", "leaves the range of float32"),
        (lambda x: x > 0, "denormals", "hangs on the last bit"),
        (lambda x: torch.floor(x / 49 * 49).long(), "ties", "hangs on the last bit"),
        (lambda x: 1 / x, "zeros", "leaves the range"),
    ],
)
def test_what_cannot_be_judged_is_left_out_and_says_why(reference, structure, reason):
    case = patterns(make(reference, x=Tensor("N, M")))[structure]
    assert re.search(reason, case.unfit), case.unfit


def test_thin_axes_last_first_and_only_whole_axes():
    task = make(lambda x: x[:, ::2], x=Tensor("N, 2 * M"), y=Tensor("M"))
    assert [w.sizes for w in thin(task, 1)] == [{"N": 1, "M": 24}, {"N": 8, "M": 1}]
    judge = Judge(lambda t, w, i: [(np.ones(1), 1.0)])
    refuses = make(lambda x: x.amax(1), x=Tensor("N, M"))
    assert [w.name for w in judge.thin(refuses, STRICT, 0)] == ["n-0"]
    assert [w.name for w in judge.thin(refuses, STRICT, 1)] == ["m-1", "n-1"]


def test_a_thin_size_allows_what_pytorch_needs_among_many_elements():
    task = make(lambda x: torch.sin(x * 3), x=Tensor("N, M"))
    judge = Judge(plain_scales)
    shares = [
        judge.case(task, w, STRICT).expected[0].own_share
        for w in task.workloads()
        if w.role == "check"
    ]
    assert max(shares) > 0.25  # else the test shows nothing
    workload = next(iter(judge.thin(task, STRICT, 1)))
    case = judge.case(task, workload, STRICT)
    terms, count = plain_scales(task, workload, case.inputs)[0]
    plain = np.abs(terms) * 0.25 * np.finfo(np.float32).eps * np.sqrt(count)
    assert np.allclose(case.expected[0].floor, plain * 4 * max(shares))


def test_a_secret_seed_is_drawn_late_and_its_cases_are_forgotten():
    judge = Judge(pointwise_scales)
    known = Draws(judge, TASK, STRICT)
    assert known.seed == 0
    known.case(TASK.workloads()[1])
    held = len(judge._cases)
    secret = Draws(judge, TASK, STRICT, secret=True)
    assert secret.seed is None
    first = secret.case(TASK.workloads()[1])
    assert secret.seed not in (None, 0)
    assert first.inputs["x"].tobytes() != known.case(TASK.workloads()[1]).inputs["x"].tobytes()
    assert len(secret.structured()) >= 4
    assert len(judge._cases) > held
    secret.forget()
    known.forget()
    assert len(judge._cases) == held
    other = Draws(judge, TASK, STRICT, secret=True)
    other.case(TASK.workloads()[1])
    assert other.seed != secret.seed


def test_a_draw_that_happens_to_be_ill_conditioned_is_drawn_again():
    def scales(task, workload, inputs):
        return [(np.full(1, 1e-12 if inputs["x"][0] < 0 else 1.0), 1.0)]

    task = make(lambda x: x / 3, x=Tensor("N"))
    judge = Judge(scales)
    ill = {s: any(judge.case(task, w, STRICT, seed=s).ill_conditioned
                  for w in task.workloads()[1:]) for s in range(64)}  # fmt: skip
    bad = [s for s, wrong in ill.items() if wrong]
    good = next(s for s, wrong in ill.items() if not wrong)
    seeds = iter([bad[0], bad[1], good])
    draws = Draws(judge, task, STRICT, secret=True, draw=lambda: next(seeds))
    assert not draws.case(task.workloads()[1]).ill_conditioned
    assert draws.seed == good
