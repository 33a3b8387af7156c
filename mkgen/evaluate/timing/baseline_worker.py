"""The child that times a task's own reference; it never sees a candidate.

Its flags are its own: what a candidate's import sets in its process changes nothing here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkgen.evaluate.timing.child import Job, TimerJobs

if TYPE_CHECKING:
    import torch

    from mkgen.codegen.timer import Timer
    from mkgen.task import Task


class BaselineSession:
    """Eager or compiled PyTorch, on the CPU or on the accelerator."""

    def __init__(self, mode: str) -> None:
        """`mode`: `eager` or `torch.compile`."""
        self._mode = mode
        self._made: tuple[str, Callable[..., Any]] | None = None
        self._timing = TimerJobs(self._open)

    def handle(self, job: Job) -> Any:
        """The result of one job."""
        handlers: dict[str, Callable[[Job], Any]] = {
            "limit": lambda _: None,
            "timing": self._timing.handle,
            "flags": lambda _: flags(),
        }
        return handlers[job["job"]](job)

    def _open(self, job: Job) -> Timer:
        from mkgen.codegen.torch_timer import TorchTimer
        from mkgen.evaluate.arrays import load_arrays
        from mkgen.evaluate.inputs import to_torch

        device = _device(job["on_accelerator"])
        set_precision(relaxed=job["relaxed"])
        task = _task(job["task"])
        inputs = load_arrays(Path(job["inputs"]))
        arguments = {name: to_torch(inputs[name]).to(device) for name in task.inputs}
        call = self._call(task, job["sizes"], device)

        def named(returned: Any) -> dict[str, torch.Tensor]:
            results = returned if isinstance(returned, tuple | list) else (returned,)
            return {f"output{i}": value for i, value in enumerate(results)}

        return TorchTimer(call, arguments, named, device, job["flush_bytes"])

    def _call(self, task: Task, sizes: dict[str, int], device: torch.device) -> Callable[..., Any]:
        import torch

        from mkgen.evaluate.inputs import reference_call

        key = f"{task.hash} {sorted(sizes.items())} {device}"
        if self._made is None or self._made[0] != key:
            call = reference_call(task, sizes).call
            if isinstance(call, torch.nn.Module):
                call = call.to(device)
            if self._mode == "torch.compile":
                torch.compiler.reset()
                call = torch.compile(call)
            self._made = key, call
        return self._made[1]


def flags() -> dict[str, str]:
    """PyTorch's global settings that change how fast, and how well, a reference is computed."""
    import torch

    return {
        "matmul precision": torch.get_float32_matmul_precision(),
        "matmul tf32": str(torch.backends.cuda.matmul.allow_tf32),
        "convolution tf32": str(torch.backends.cudnn.allow_tf32),
        "convolution benchmark": str(torch.backends.cudnn.benchmark),
        "convolution enabled": str(torch.backends.cudnn.enabled),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
        "threads": str(torch.get_num_threads()),
        "default dtype": str(torch.get_default_dtype()),
    }


def set_precision(*, relaxed: bool) -> None:
    """float32 in full, or with the matrix units' short mantissa where the task allows it."""
    import torch

    torch.set_float32_matmul_precision("high" if relaxed else "highest")
    torch.backends.cudnn.allow_tf32 = relaxed


def _device(on_accelerator: bool) -> torch.device:
    import torch

    from mkgen.errors import MissingError

    if not on_accelerator:
        return torch.device("cpu")
    found = torch.accelerator.current_accelerator()
    if found is None or not torch.accelerator.is_available():
        raise MissingError("PyTorch sees no accelerator here; install its build for the device")
    return torch.device(found.type, 0)


def _task(document: dict[str, Any]) -> Task:
    """The task of `document`, whose text brings the reference."""
    from mkgen.task import Task, Tensor, load_task

    with tempfile.TemporaryDirectory(prefix="reference-") as scratch:
        path = Path(scratch) / f"{document['name']}.py"
        path.write_text(document["source"])
        loaded = load_task(path, document["name"])
    inputs = {name: Tensor(**tensor) for name, tensor in document["inputs"].items()}
    return Task(**{**document, "inputs": inputs, "reference": loaded.reference})
