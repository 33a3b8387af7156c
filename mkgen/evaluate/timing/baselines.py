"""What a candidate is compared with: the task's reference in PyTorch, in processes of its own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, cast

from mkgen.codegen.backend import Backend, Role
from mkgen.evaluate.pool import Lease, Workers
from mkgen.program import PrecisionClass
from mkgen.task import Task, Workload

#: By the name that `--compare` takes.
BASELINES = {"eager": "eager", "compile": "torch.compile"}


class _Reference:
    """Stands where a pool of workers asks for a backend."""

    def __init__(self, mode: str, devices: tuple[str, ...], variables: tuple[str, ...]) -> None:
        self.name = mode
        self.devices = devices
        self.variables = variables

    def environment(self, role: Role) -> dict[str, str]:
        """Nothing of a backend's."""
        return {}


def lease_baseline(
    stack: ExitStack,
    workers: Workers,
    mode: str,
    devices: tuple[str, ...],
    variables: tuple[str, ...] = (),
) -> Lease:
    """The worker that times `mode`, until `stack` ends; it stays for the next task.

    `devices` are the device files it may open, `variables` those of their drivers: see Backend.
    """
    stand_in = cast(Backend, _Reference(mode, devices, variables))
    return stack.enter_context(workers.lease(stand_in, "baseline"))


def opening(
    task: Task,
    workload: Workload,
    precision: PrecisionClass,
    inputs: str,
    flush_bytes: int,
    *,
    on_accelerator: bool,
) -> Mapping[str, Any]:
    """What a baseline's job `open` says; `inputs` is where its arrays lie."""
    return {
        "task": task.model_dump(mode="json"),
        "sizes": dict(workload.sizes),
        "relaxed": precision is not PrecisionClass.STRICT,
        "inputs": inputs,
        "flush_bytes": flush_bytes,
        "on_accelerator": on_accelerator,
    }
