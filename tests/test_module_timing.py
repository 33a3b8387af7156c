"""A ModelNew is timed by the timer that launchers are timed by; here over CPU tensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from module_support import NORM, SOFTMAX

from mkgen.codegen.registry import backend_named
from mkgen.codegen.timer import Timer, rolled
from mkgen.codegen.torch_module import Launches, RunningModule, TorchModuleExecutor
from mkgen.errors import ExecutionError, RefusedError
from mkgen.evaluate.inputs import draw, reference_call
from mkgen.evaluate.module_source import module_candidate, read_module
from mkgen.evaluate.worker import failure
from mkgen.program import PrecisionClass, Program
from mkgen.record import EvidenceKind
from mkgen.target import Target
from mkgen.task import Task, Tensor

SOFTMAX_MODULE = """
import torch

class ModelNew(torch.nn.Module):
    def forward(self, x):
        {body}
"""
COUNTED_MODULE = """
import torch

class ModelNew(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = torch.nn.Module()
        self.inner.register_buffer("total", torch.zeros(width))

    def forward(self, x):
        {body}
        return x + self.inner.total
"""


class Counted(torch.nn.Module):
    """Adds what it was given so far."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = torch.nn.Module()
        self.inner.register_buffer("total", torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.inner.total.add_(x.sum(dim=0))
        return x + self.inner.total


COUNTED = Task(
    name="counted", category="normalization", reference=Counted, init={"width": "WIDTH"},
    inputs={"x": Tensor("ROWS, WIDTH")}, bench={"ROWS": 64, "WIDTH": 32},
    check=({"ROWS": 5, "WIDTH": 7},), heldout=({"ROWS": 3, "WIDTH": 4},), source="class Counted",
)  # fmt: skip


class Device(TorchModuleExecutor):
    """A CPU that stands for a device."""

    name = "cpu-module-device"
    kind = EvidenceKind.DEVICE
    role = "device"
    needs_artifact = False
    device = "cpu"
    cannot_see = ()
    settled = 0

    def refusal(self, program: Program) -> str | None:
        return None

    @contextmanager
    def counting(self, program: Program) -> Iterator[Launches]:
        yield Launches(count=1)

    def settle(self) -> None:
        self.settled += 1


class Emulator(Device):
    name = "cpu-module-emulator"
    kind = EvidenceKind.EMULATED
    role = "emulate"


def only(timer: Timer) -> np.ndarray:
    """The one output of the last call."""
    (value,) = timer.outputs().values()
    return value


def loaded(
    text: str, task: Task, directory: Path, executor: TorchModuleExecutor
) -> tuple[RunningModule, dict[str, np.ndarray]]:
    """The module `text` at the first check sizes of `task`, and what it is given."""
    path = directory / "model.py"
    path.write_text(text)
    workload = task.workloads()[1]
    candidate = module_candidate(
        task, backend_named("triton"), Target.parse("triton:sm_90"), read_module(path),
        PrecisionClass.STRICT,
    )  # fmt: skip
    given = {**draw(task, workload, 0), **reference_call(task, workload.sizes).parameters}
    running = executor.load(candidate.program(workload), None, directory / "scratch")
    assert isinstance(running, RunningModule)
    return running, given


def test_every_call_finds_other_values_and_gives_the_right_outputs(tmp_path: Path) -> None:
    executor = Device()
    running, given = loaded(
        SOFTMAX_MODULE.format(body="return torch.softmax(x, -1)"), SOFTMAX, tmp_path, executor
    )
    timer = running.timer(given, 4096, rolls=True)
    timer.warm()
    for shift in (0, 3, 11):
        assert timer.queued(shift) > 0
        moved = rolled(given, ("x",), shift)["x"]
        weights = np.exp(moved - moved.max(-1, keepdims=True))
        want = weights / weights.sum(-1, keepdims=True)
        np.testing.assert_allclose(only(timer), want, rtol=1e-5)
        bracket = timer.bracketed(shift)
        assert bracket.host >= bracket.submit > 0
    timer.close()
    assert executor.settled >= 6, "before every call"


def test_a_result_kept_by_address_is_wrong_in_timed_calls(tmp_path: Path) -> None:
    body = (
        "kept = self.__dict__.setdefault('kept', {})\n"
        "        if x.data_ptr() not in kept: kept[x.data_ptr()] = torch.softmax(x, -1)\n"
        "        return kept[x.data_ptr()].clone()"
    )
    running, given = loaded(SOFTMAX_MODULE.format(body=body), SOFTMAX, tmp_path, Device())
    timer = running.timer(given, 64, rolls=True)
    timer.queued(0)
    first = only(timer)
    timer.queued(5)
    assert np.array_equal(only(timer), first)
    want = torch.softmax(torch.from_numpy(rolled(given, ("x",), 5)["x"]), -1).numpy()
    assert not np.allclose(first, want)


@pytest.mark.parametrize(
    "body",
    [
        "self.inner.total.add_(x.sum(dim=0))",
        "self.inner.total = self.inner.total + x.sum(dim=0)",
    ],
)
def test_state_is_what_it_was_before_every_call(tmp_path: Path, body: str) -> None:
    running, given = loaded(COUNTED_MODULE.format(body=body), COUNTED, tmp_path, Device())
    state = next(name for name in given if name != "x")
    timer = running.timer(given, 64)
    for _ in range(3):
        timer.queued()
        seen = timer.outputs()
        np.testing.assert_allclose(seen[state], given[state] + given["x"].sum(0), rtol=1e-5)
        output = next(value for name, value in seen.items() if name != state)
        np.testing.assert_allclose(output, given["x"] + seen[state], rtol=1e-5)


def test_what_is_no_kernel_of_its_own_is_refused_in_timing_too(tmp_path: Path) -> None:
    body = "return torch.softmax(x, -1).as_subclass(type('Lazy', (torch.Tensor,), {}))"
    running, given = loaded(SOFTMAX_MODULE.format(body=body), SOFTMAX, tmp_path, Device())
    timer = running.timer(given, 64)
    with pytest.raises(RefusedError, match=r"must be a torch\.Tensor itself") as caught:
        timer.queued()
    assert failure(caught.value, "timing")["status"] == "refused"
    other = tmp_path / "other"
    other.mkdir()
    takes_width = "\n    def __init__(self, width):\n        super().__init__()\n"
    running, given = loaded(
        SOFTMAX_MODULE.format(body="return x") + takes_width, NORM, other, Device()
    )
    with pytest.raises(RefusedError, match=r"has no norm\.bias"):
        running.timer(given, 64)


def test_functions_that_the_candidate_replaces_are_not_those_that_are_used(tmp_path: Path) -> None:
    text = SOFTMAX_MODULE.format(body="return torch.softmax(x, -1)") + (
        "\ntorch.Tensor.cpu = lambda self: torch.zeros(self.shape)\n"
        "torch.Tensor.numpy = lambda self: None\n"
    )
    kept = torch.Tensor.cpu, torch.Tensor.numpy
    try:
        running, given = loaded(text, SOFTMAX, tmp_path, Device())
        timer = running.timer(given, 64)
        timer.queued()
        assert only(timer).sum() == pytest.approx(given["x"].shape[0], rel=1e-4)
    finally:
        torch.Tensor.cpu, torch.Tensor.numpy = kept  # type: ignore[method-assign]


def test_an_emulator_measures_nothing(tmp_path: Path) -> None:
    text = SOFTMAX_MODULE.format(body="return torch.softmax(x, -1)")
    running, given = loaded(text, SOFTMAX, tmp_path, Emulator())
    with pytest.raises(ExecutionError, match="say nothing of the target"):
        running.timer(given)


def test_executors_of_modules_measure_what_others_of_their_device_do(tmp_path: Path) -> None:
    """The probe of the flush, on this CPU; and undoing what NVIDIA's cache may be told."""
    copies = Device().probe_copies(1 << 12, 1 << 14, 3)
    assert len(copies) == 3 and min(copies) > 0
    assert Device().last_level_cache() == 0, "PyTorch tells nothing of a CPU's"
    for backend in ("cuda", "triton"):
        devices = [e for e in backend_named(backend).executors() if e.kind is EvidenceKind.DEVICE]
        modules = [e for e in devices if isinstance(e, TorchModuleExecutor)]
        others = [e for e in devices if not isinstance(e, TorchModuleExecutor)]
        assert [e.clock_command() for e in modules] == [e.clock_command() for e in others]
        assert all(type(e).settle is not TorchModuleExecutor.settle for e in modules)
