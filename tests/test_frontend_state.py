"""What a reference changes in place: values it computed, a module's state, never its inputs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from mkgen.errors import UnsupportedError
from mkgen.frontend import lower_task
from mkgen.ir.interpreter import run
from mkgen.task import Task, Tensor

SIZES = {"N": 3, "C": 5, "H": 4, "W": 7}


def task_of(reference: Callable[..., Any], shape: str = "N, C, H, W") -> Task:
    return Task(
        name="mine", category="normalization", reference=reference, inputs={"x": Tensor(shape)},
        bench=SIZES, check=[SIZES], heldout=[],
    )  # fmt: skip


def batch_norm() -> torch.nn.Module:
    """In training, with weights and state that are not those a module starts with."""
    torch.manual_seed(3)
    module = torch.nn.BatchNorm2d(SIZES["C"], momentum=0.3)
    for held in (*module.parameters(), module.running_mean, module.running_var):
        torch.nn.init.uniform_(held, 0.5, 1.5)
    return module


def test_batch_norm_in_training_gives_its_state() -> None:
    module = batch_norm()
    given = {k.replace(".", "_"): v.numpy().copy() for k, v in module.state_dict().items()}
    x = torch.randn(*SIZES.values()) * 2 + 1
    graph = lower_task(task_of(copy.deepcopy(module)))
    got = run(graph, SIZES, {"x": x.numpy(), **given})
    with torch.no_grad():
        want = module(x).numpy()
    np.testing.assert_allclose(got["y"], want, rtol=2e-5, atol=2e-5)
    state = {k: v.numpy() for k, v in module.state_dict().items() if k not in ("weight", "bias")}
    assert set(got) == {"y", *state} == {"y", *graph.written_state()}
    for name, after in state.items():
        assert got[name].dtype == after.dtype
        np.testing.assert_allclose(got[name], after, rtol=2e-5, err_msg=name)
        assert not np.array_equal(got[name], given[name]), f"{name} should have changed"


def refused(body: Callable[[torch.Tensor], torch.Tensor], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        lower_task(task_of(body, "N, C"))


def test_changing_an_input_is_refused() -> None:
    refused(lambda x: x.add_(1.0), "changes the input x in place")
    refused(lambda x: x.detach().mul_(2.0) + x, "changes the input x in place")


def test_state_written_through_a_view_is_kept() -> None:
    class Counting(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.arange(5.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen[1:3].add_(10.0)
            return x * self.seen

    module = Counting()
    x = np.ones((3, 5), np.float32)
    graph = lower_task(task_of(module, "N, C"))
    got = run(graph, SIZES, {"x": x, "seen": np.arange(5, dtype=np.float32)})
    want = np.array([0, 11, 12, 3, 4], np.float32)
    np.testing.assert_array_equal(got["seen"], want)
    np.testing.assert_array_equal(got["y"], np.tile(want, (3, 1)))


def test_dropout_in_training_is_refused() -> None:
    refused(lambda x: torch.nn.functional.dropout(x, 0.5, True), "no two programs draw alike")


def test_label_smoothing_is_refused() -> None:
    labels = Tensor("N", dtype="int64", distribution="integers", high="C")
    smooth = torch.nn.functional.cross_entropy
    task = Task(
        name="mine", category="loss", inputs={"x": Tensor("N, C"), "y": labels}, bench=SIZES,
        check=[SIZES], heldout=[], reference=lambda x, y: smooth(x, y, label_smoothing=0.1),
    )  # fmt: skip
    with pytest.raises(UnsupportedError, match="label_smoothing=0.1"):
        lower_task(task)
