"""Times are believed when several clocks, the outputs, the cache and physics agree."""

from __future__ import annotations

import math
import os
import re
import sys
from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from evaluate_support import (
    DEVICE_SECONDS,
    PROFILE,
    FakeBackend,
    FakeCandidate,
    install,
    make_settings,
)

from mkgen.codegen.backend import Arch
from mkgen.codegen.candidate import Generator, scales
from mkgen.codegen.registry import backend_named
from mkgen.codegen.timer import Bracket, fills_for, rolled
from mkgen.codegen.torch_timer import TorchTimer
from mkgen.errors import ExecutionError
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.oracle import Judge
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.evaluate.protocol import Settings, evaluate
from mkgen.evaluate.timing import clocks, flush, libraries
from mkgen.evaluate.timing.baselines import lease_baseline, opening
from mkgen.evaluate.timing.clocks import Readings, Surroundings, conflict
from mkgen.evaluate.timing.floor import floor_of
from mkgen.evaluate.timing.interleave import Contestant, Plan
from mkgen.evaluate.timing.measure import _believe, _Opened
from mkgen.evaluate.timing.statistics import median_interval, ratio, speed
from mkgen.evaluate.wording import describe
from mkgen.profile import find_profile
from mkgen.program import PrecisionClass
from mkgen.record import EvidenceKind, Record, Status
from mkgen.share import share_root
from mkgen.target import Target
from mkgen.task import find_task, load_task

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import device_timing  # noqa: E402

TASK_FILE = '''
"""relu, small enough for a test."""

import torch

from mkgen.task import Task, Tensor


def positive(x):
    return torch.relu(x)


task = Task(
    name="positive",
    category="activation",
    reference=positive,
    inputs={"x": Tensor("ROWS, COLS")},
    bench={"ROWS": 256, "COLS": 300},
    check=[{"ROWS": 33, "COLS": 259}, {"ROWS": 5, "COLS": 4099}],
    heldout=[{"ROWS": 101, "COLS": 173}],
)
'''


# --- statistics ---------------------------------------------------------------------------------


def test_the_interval_is_of_order_statistics():
    # n = 20: ranks 6 and 15 hold the median with 95.86 %, 7 and 14 with 88.5 % (David, Nagaraja)
    found = median_interval([float(n) for n in range(20, 0, -1)])
    assert (found.median, found.low, found.high) == (10.5, 6.0, 15.0)
    assert median_interval([3.0, 1.0, 2.0]).low == 1.0, "too few for 95 %: all of them"
    assert median_interval([float(n) for n in range(5000)]).spread < 0.03
    with pytest.raises(ValueError, match="no samples"):
        median_interval([])


def test_the_interval_covers_as_often_as_it_says():
    generator = np.random.default_rng(0)
    draws = generator.lognormal(size=(400, 25))
    held = sum(i.low <= 1.0 <= i.high for i in map(median_interval, draws.tolist()))
    assert held / 400 > 0.93


def test_one_outlier_moves_no_median_and_ratios_have_ends():
    plain, spiked = [1.0] * 30, [1.0] * 29 + [1e9]
    assert median_interval(plain) == median_interval(spiked)
    times, low, high = ratio(speed("eager", [2.0] * 6), speed("candidate", [1.0] * 5 + [1.25]))
    assert (times, low, high) == (2.0, 1.6, 2.0)


# --- clocks -------------------------------------------------------------------------------------

AROUND = Surroundings(launches=1, copied_bytes=1 << 20, bandwidth=1e12)


def readings(device: float, host: float, submit: float, after: float, wall: float) -> Readings:
    return Readings([device] * 9, [Bracket(host, submit, after)] * 9, [wall] * 9)


def test_honest_clocks_agree():
    assert conflict(readings(1e-3, 1.03e-3, 1e-5, 2e-5, 2e-3), AROUND) == ""
    # a kernel of 3 us, launched from Python
    assert conflict(readings(3e-6, 6e-5, 4e-5, 2e-5, 1e-3), AROUND) == ""
    # a recurrence of 1,000 launches that the host cannot queue as fast as the device runs them
    many = Surroundings(launches=1000, copied_bytes=1 << 20, bandwidth=1e12)
    assert conflict(readings(5e-3, 2e-2, 1.9e-2, 2e-5, 3e-2), many) == ""


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (readings(2e-6, 4e-3, 1e-5, 2e-5, 5e-3), "outside of the timed stream"),
        (readings(2e-6, 4e-3, 3.99e-3, 2e-5, 5e-3), "work that the events do not enclose"),
        (readings(2e-6, 5e-5, 1e-5, 4e-3, 5e-3), "something was still at work"),
        (readings(1e-3, 1e-4, 1e-5, 2e-5, 2e-3), "the host saw the whole call within"),
        (readings(1e-3, 1.1e-3, 1e-5, 2e-5, 0.3), "clocks of its process are not credible"),
    ],
)
def test_clocks_that_contradict_each_other(told, why):
    assert why in conflict(told, AROUND)


def test_no_claim_is_longer_than_the_job_nor_is_it_nothing():
    assert clocks.within_wall(1e-3, 2e-3) == ""
    for claimed in (3e-3, 0.0, -1.0, math.nan, math.inf):
        assert "not credible" in clocks.within_wall(claimed, 2e-3)


# --- flush and floor ----------------------------------------------------------------------------


def test_a_flush_is_believed_when_it_is_as_slow_as_memory():
    warm, cold = [5e-6] * 9, [9e-6] * 9
    assert flush.failing(warm, cold, cold, 20 << 20, 4.8e12) == ""
    assert "leaves much of it" in flush.failing(warm, [6e-6] * 9, cold, 20 << 20, 4.8e12)
    assert "too near" in flush.failing(warm, warm, [5.1e-6] * 9, 20 << 20, 4.8e12)
    assert "more than the memory's" in flush.failing(warm, cold, cold, 20 << 20, 1e12)


def test_enough_flushes_are_queued_to_be_ahead_of_the_device():
    assert fills_for(1e-5, 4e-5) == 1
    assert fills_for(4e-4, 4e-5) == 20
    assert fills_for(1.0, 0.0) == 1 and fills_for(1e9, 1e-6) == 200


H200 = find_profile("h200")


def floor(name: str, *, flushed: bool = True, precision: PrecisionClass = PrecisionClass.STRICT):
    task = find_task(name)
    return task.bench, floor_of(
        task, task.workloads()[0], precision, H200, H200.integer("l2_bytes"), flushed=flushed
    )


def test_the_floor_counts_reads_and_what_no_cache_holds_of_the_writes():
    sizes, found = floor("relu")
    size, cache = sizes["ROWS"] * sizes["COLS"] * 4, H200.integer("l2_bytes")
    assert found.seconds == pytest.approx((2 * size - cache) / 4.8e12, rel=1e-6)
    # nobody saw that the inputs were evicted: then they may be in the cache, too, but no larger
    assert floor("relu", flushed=False)[1].seconds == pytest.approx(found.seconds, rel=1e-6)
    sizes, small = floor("matmul", flushed=False)
    assert small.seconds < sizes["M"] * sizes["N"] * sizes["K"] * 2 / 330e12


def test_the_floor_leaves_out_what_need_not_be_read():
    # a gather reads its indices whole, its table only where they point
    sizes, found = floor("embedding")
    ids, rows = sizes["B"] * sizes["T"] * 8, sizes["B"] * sizes["T"] * sizes["D"] * 4
    moved = ids + rows - H200.integer("l2_bytes")
    assert found.seconds == pytest.approx(moved / 4.8e12, rel=0.01)


def test_the_floor_of_a_product_is_that_of_the_fastest_arithmetic_as_accurate():
    sizes, strict = floor("matmul")
    operations = 2 * sizes["M"] * sizes["N"] * sizes["K"] * 7 / 8
    assert strict.seconds == pytest.approx(operations / (989.5e12 / 3), rel=1e-6)
    assert "Tflop/s" in strict.reason
    relaxed = floor("matmul", precision=PrecisionClass.BF16)[1]
    assert relaxed.seconds < strict.seconds


def test_a_profile_of_many_devices_has_no_floor():
    task = find_task("relu")
    cpu = find_profile("cpu")
    found = floor_of(task, task.workloads()[0], PrecisionClass.STRICT, cpu, 1, flushed=True)
    assert found.seconds == 0 and "many devices" in found.reason


# --- provenance ---------------------------------------------------------------------------------


def test_kernels_of_libraries_are_known_by_their_names():
    own = ("softmax_kernel", "my_gemm", "_Z9layernormPKfPf", "triton_softmax", "fused_add")
    theirs = (
        "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>",
        "void cutlass::Kernel2<cutlass_80_simt_sgemm_128x32_8x5_nn_align1>",
        "sm90_xmma_gemm_f32f32_tf32f32_f32_nn_n_tilesize128x128x32", "Memcpy HtoD (Pageable)",
        "nvjet_tst_128x256_64x4_1x2_h_bz_coopA_NNT", "triton_poi_fused_relu_0",
        "ampere_sgemm_64x32",
        "void cub::DeviceReduceKernel<int>", "Cijk_Ailk_Bljk_SB_MT128x64x16", "Memset (Device)",
    )  # fmt: skip
    assert libraries.own_kernels((*own, *theirs)) == own
    assert libraries.refusal(theirs) and not libraries.refusal((*theirs, "my_gemm"))
    assert libraries.refusal(()) == "", "nobody saw what was launched"


@pytest.mark.parametrize("allowed", [False, True])
def test_a_module_of_library_kernels_is_refused_unless_a_library_may_compute_it(allowed):
    parameters = {"library": True} if allowed else {}
    subject = SimpleNamespace(
        origin="module", on_accelerator=True,
        program=SimpleNamespace(variant=SimpleNamespace(parameters=parameters)),
    )  # fmt: skip
    taken = SimpleNamespace(candidate=SimpleNamespace(median=1.0), kernels=("ampere_sgemm_64x32",))
    with nullcontext() if allowed else pytest.raises(WorkerFailure, match="a library's"):
        _believe(subject, taken, SimpleNamespace(seconds=0.0))


# --- the whole way, with a device that lies -----------------------------------------------------

#: A device of whose facts the floor is made: 4,096 floats take at least 0.16 us.
VENDOR = PROFILE.replace('vendor = "generic"', 'vendor = "amd"').replace(
    "memory_bandwidth = {value = 1.0", "memory_bandwidth = {value = 1.0e11"
)


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    place = tmp_path_factory.mktemp("plugin")
    install(place)
    (place / "fake1.toml").write_text(VENDOR)
    (place / "slow.toml").write_text(VENDOR.replace("value = 1.0e11", "value = 1.0e6"))
    here = Path(__file__).parent
    patch = pytest.MonkeyPatch()
    own = [str(here.parent), str(here.parent / "backends"), str(here), str(place)]
    path = [*own, os.environ.get("PYTHONPATH", "")]
    patch.setenv("PYTHONPATH", os.pathsep.join(p for p in path if p))
    patch.syspath_prepend(str(place))
    patch.setattr(FakeBackend, "archs", {"one": Arch("one", "F", 32, str(place / "fake1.toml"))})
    yield place
    patch.undo()


@pytest.fixture(scope="module")
def workers(plugin):
    with Workers() as made:
        yield made


def timed(workers, behaviour: str, **changes) -> Record:
    origin = changes.pop("origin", "template")
    chosen = {"device": True, "emulate": False, "samples": 6, "timing_seconds": 1.0}
    return evaluate(
        FakeCandidate(behaviour, origin=origin), workers, make_settings(**chosen | changes)
    )


def test_honest_times_are_evidence(workers):
    record = timed(workers, "right", compare=("eager",))
    assert record.status is Status.PASS, record.reason
    evidence = next(e for e in record.evidence if e.kind is EvidenceKind.TIMED)
    timing = evidence.timing
    assert timing.candidate.median == DEVICE_SECONDS and timing.candidate.samples >= 6
    assert timing.host_median > DEVICE_SECONDS
    assert timing.flush_verified and timing.flush_bytes == 3 << 20
    assert timing.outputs_checked == 3 and timing.kernels == ("kernel",)
    assert timing.floor == pytest.approx(4096 * 4 / 1e11)
    # the fake's reference has no file: that is said, and is no failure of the candidate
    assert not timing.baselines and "no eager" in evidence.detail
    words = " ".join(describe(record).split())
    assert "timed median 0.001 s (95 % 0.001 to 0.001)" in words and "floor" in words


LIES = {
    "slow-clock": (Status.IMPLAUSIBLE, "a call is said to have taken 100 s"),
    "side-stream": (Status.IMPLAUSIBLE, "outside of the timed stream"),
    "inside-the-call": (Status.IMPLAUSIBLE, "events do not enclose"),
    "late-stream": (Status.IMPLAUSIBLE, "something was still at work"),
    "own-clock": (Status.IMPLAUSIBLE, "clocks of its process are not credible"),
    "lazy-after-three": (Status.WRONG_OUTPUT, "a timed call: output"),
    "lazy-by-events": (Status.WRONG_OUTPUT, "a timed call: output"),
    "late-thread": (Status.WRONG_OUTPUT, "a timed call: output.*got nan"),
    "cached": (Status.WRONG_OUTPUT, "a timed call: output"),
}


@pytest.mark.parametrize("behaviour", LIES)
def test_a_lie_about_time_has_its_status(workers, behaviour):
    status, reason = LIES[behaviour]
    # only a stranger's calls find other values each time
    record = timed(workers, behaviour, origin="source" if behaviour == "cached" else "template")
    assert record.status is status, record.reason
    assert re.search(reason, record.reason)
    assert not record.has(EvidenceKind.TIMED)


def test_faster_than_the_memory_is_implausible(workers, plugin, monkeypatch):
    arch = Arch("one", "F", 32, str(plugin / "slow.toml"))
    monkeypatch.setattr(FakeBackend, "archs", {"one": arch})
    record = timed(workers, "right")
    assert record.status is Status.IMPLAUSIBLE
    assert "median 0.001 s, but Fake One needs at least 0.01638 s" in record.reason


def test_a_module_that_launches_only_library_kernels_is_refused(workers):
    record = timed(workers, "library", origin="module")
    assert record.status is Status.REFUSED
    assert "PyTorch, copies" in record.reason


def test_a_flush_smaller_than_the_cache_is_seen(plugin, monkeypatch):
    monkeypatch.setenv("MKGEN_FAKE_CACHE", str(2 << 20))  # twice what the driver says
    with Workers() as workers:
        timing = timed(workers, "right").evidence[-1].timing
        assert timing.flush_verified and timing.flush_bytes == 6 << 20, "the larger one was tried"
    monkeypatch.setenv("MKGEN_FAKE_CACHE", str(4 << 20))
    with Workers() as workers:
        evidence = timed(workers, "right").evidence[-1]
        assert not evidence.timing.flush_verified
        assert "flush not verified: a copy after the flush" in evidence.detail


# --- baselines ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def positive(tmp_path_factory):
    path = tmp_path_factory.mktemp("task") / "positive.py"
    path.write_text(TASK_FILE)
    return load_task(path)


def test_a_baseline_is_its_own_process_and_keeps_its_own_flags(positive, tmp_path, monkeypatch):
    """What an import sets in another process, this one too, does not change how it is computed."""
    import torch

    from mkgen.evaluate.arrays import save_arrays
    from mkgen.evaluate.inputs import draw

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        workload = positive.workloads()[1]
        save_arrays(tmp_path / "x", draw(positive, workload, 0))
        with Workers() as workers, ExitStack() as stack:
            lease = lease_baseline(stack, workers, "eager", ())
            given = lease.give(tmp_path / "x")
            job = opening(
                positive, workload, PrecisionClass.STRICT, str(given), 4096, on_accelerator=False
            )
            eager = Contestant("eager", lease, job, 120.0)
            eager.open()
            first = lease.call("flags", 20.0)
            for _ in range(6):
                eager.queued(0)
                eager.bracketed(0)
            assert lease.call("flags", 20.0) == first
            assert lease._process.group != os.getpid()
    finally:
        torch.set_float32_matmul_precision(before)
    assert (first["matmul precision"], first["convolution tf32"]) == ("highest", "False")
    assert len(eager.readings.device) == 6 and min(eager.readings.device) > 0


def test_a_baseline_whose_settings_change_is_not_believed():
    class Told:
        name, closed = "eager", False

        def flags(self):
            return {"matmul tf32": "True"}

        def close(self):
            self.closed = True

    opened, told = _Opened(), Told()
    opened.flags["eager"] = {"matmul tf32": "False"}
    assert not opened.settled(told) and told.closed
    assert "no eager: its process changed PyTorch's settings" in opened.absent
    opened.flags["eager"] = told.flags()
    assert opened.settled(told)


def test_a_real_device_beside_eager_pytorch(positive, tmp_path, monkeypatch):
    """OpenCL's CPU device: noisy times, but a device like any other."""
    own = (share_root("hardware_profiles") / "cpu.toml").read_text()
    size = find_profile("cpu").integer("last_level_cache_bytes")
    small = own.replace("{ value = 33_554_432", "{ value = 2_097_152")  # a flush that is quick
    assert small != own and size == 33_554_432
    (tmp_path / "cpu.toml").write_text(small)
    monkeypatch.setenv("MKGEN_PROFILES", str(tmp_path))
    target = Target.parse("opencl:cpu")
    made = Generator(positive, backend_named("opencl"), target)
    settings = Settings(
        Judge(scales), CompileCache(), emulate=False, device=True, samples=5,
        timing_seconds=1.0, compare=("eager",),
    )  # fmt: skip
    with Workers() as workers:
        record = evaluate(next(made.candidates()), workers, settings)
    assert record.status is Status.PASS, record.reason
    timing = record.evidence[-1].timing
    assert [b.name for b in timing.baselines] == ["eager"], record.evidence[-1].detail
    for one in (timing.candidate, *timing.baselines):
        assert 0 < one.low <= one.median <= one.high and one.samples >= 5
    assert timing.flush_bytes >= 3 << 21
    assert timing.outputs_checked == 3 and len(timing.kernels) == 1


# --- PyTorch's timer, and the cheats of benchmarks/device_timing.py -----------------------------


def cheat_of(name: str):
    """The launcher that the benchmark puts in place of an honest one, here over CPU tensors."""
    import torch

    exploit = device_timing.EXPLOITS[name]
    namespace = {"torch": torch, "honest": torch.relu}
    exec(exploit.text, namespace)
    return namespace["cheat"], exploit


def right_share(call, shifts: int = 8) -> float:
    """How many of the outputs of calls with other values each are right."""
    import torch

    x = torch.randn(64, 33)
    given = x.numpy().copy()
    timer = TorchTimer(call, {"x": x}, lambda y: {"y": y}, torch.device("cpu"), 4096, inputs=("x",))
    timer.warm()
    right = 0
    for shift in range(1, shifts + 1):
        assert timer.queued(shift) > 0 if shift % 2 else timer.bracketed(shift).host > 0
        want = np.maximum(rolled({"x": given}, ("x",), shift)["x"], 0)
        right += np.array_equal(timer.outputs()["y"], want)
    timer.close()
    return right / shifts


@pytest.mark.parametrize(
    "name",
    ["work in a thread after the return", "counts its calls", "remembers results by address"],
)
def test_cheats_of_a_launcher_show_in_the_outputs(name):
    cheat, exploit = cheat_of(name)
    assert right_share(cheat) <= 1 / 8  # the first of all calls
    assert exploit.ends == (Status.WRONG_OUTPUT,)


def test_an_honest_launcher_and_one_that_gains_nothing_are_right(monkeypatch):
    import torch

    assert right_share(torch.relu) == 1
    cheat, _ = cheat_of("remembers results by address and one value")
    assert right_share(cheat) == 1


def test_state_is_what_it_was_before_every_call():
    import torch

    count, x = torch.zeros(3), torch.ones(3)

    def step(x, count):
        count.add_(1)
        return x + count

    timer = TorchTimer(
        step, {"x": x, "count": count}, lambda y: {"y": y, "count": count}, torch.device("cpu"),
        64, restored={"count": count},
    )  # fmt: skip
    for _ in range(3):
        timer.queued()
        assert timer.outputs()["count"].tolist() == [1.0] * 3
        assert timer.outputs()["y"].tolist() == [2.0] * 3


def test_a_tensor_that_only_looks_like_one_is_refused():
    import torch

    class Lazy(torch.Tensor):
        pass

    timer = TorchTimer(
        lambda x: x.as_subclass(Lazy), {"x": torch.ones(3)}, lambda y: {"y": y},
        torch.device("cpu"), 64,
    )  # fmt: skip
    with pytest.raises(ExecutionError, match="not a plain tensor"):
        timer.queued()


def test_the_benchmark_says_what_did_not_end_as_it_must():
    task = find_task("relu")
    program = Generator(task, backend_named("triton"), Target.parse("triton:sm_90@h200"))
    program = next(program.candidates()).program(task.workloads()[1])
    text = device_timing.cheating(program, device_timing.EXPLOITS["side stream"])
    compile(text.sources[-1].text, "cheat.py", "exec")
    assert text.sources[-1].text.rstrip().endswith("relu = cheat")
    timing = {
        "candidate": {"name": "candidate", "median": 1e-4, "low": 9e-5, "high": 1.1e-4},
        "baselines": [{"name": "eager", "median": 2e-4}], "floor": 5e-5, "host_median": 1.1e-4,
        "flush_verified": True,
    }  # fmt: skip
    rows = [
        {"task": "relu", "target": "cuda:sm_90a", "status": "pass", "reason": "", "timing": timing},
        {"task": "relu", "target": "x:y", "status": "crashed", "reason": "boom", "timing": None},
    ]
    lies = [{"lie": "a", "ends": ["implausible"], "status": "pass", "reason": "believed"}]
    shown = device_timing.table(rows, lies, [{"factor": 3, "seconds": 1e-5, "bandwidth": 4e12}])
    assert "2.00 x" in shown and "| 50% |" in shown and "10.00 us" in shown
    assert device_timing.wrong(rows, lies) == ["relu -> x:y: boom", "a: pass"]


# --- small parts --------------------------------------------------------------------------------


def test_rolled_inputs_are_what_the_oracle_is_given():
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    moved = rolled({"x": x, "w": x}, ("x",), 5)
    assert moved["x"].ravel().tolist() == np.roll(x.ravel(), 5).tolist()
    assert moved["w"] is x


def test_a_measurement_ends_when_the_budget_does():
    plan, contestant = Plan(samples=10), Contestant("c", None, {}, 1.0)
    contestant.readings = Readings([1.0] * 9, [Bracket(1, 1, 1)] * 9, [1.0] * 9)
    assert contestant.known_at_all() and not contestant.known_well(plan)
    contestant.readings.device += [1.0]
    assert contestant.known_well(plan)
    contestant.readings.device = [1.0, 2.0] * 10
    assert not contestant.known_well(plan), "the interval is not narrow"
    contestant.readings.device *= 20
    assert contestant.known_well(plan), "more samples would not help"
