"""Files that define `ModelNew`, an nn.Module of PyTorch: how they are checked, loaded and run.

The child is given the candidate's file and nothing of the task: no reference, no expected values.
The harness makes the inputs, loads the reference's parameters into the candidate by name, and
reads the outputs back by functions that it has taken hold of before the candidate is imported.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import platform
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from mkgen.codegen.backend import Arrays, Executor, Loaded
from mkgen.codegen.source_module import import_source, mutated_states, write_source
from mkgen.errors import CompileError, ExecutionError, InputChangedError, RefusedError
from mkgen.program import Artifact, Buffer, BufferRole, Program
from mkgen.record import RanOn

LAUNCHER = "ModelNew"
#: What the size block of such a file defines: constructor arguments, and parameters by name.
CONSTRUCTION = "CONSTRUCTION"
WARM_UP_RUNS = 5


def is_module(program: Program) -> bool:
    """Whether `program` is a file that defines ModelNew."""
    return program.sources[-1].language == "python" and program.launcher == LAUNCHER


def check_module(program: Program, directory: Path) -> Artifact:
    """The file as an "artifact": its syntax was read, nothing was compiled. CompileError."""
    started = time.perf_counter()
    path = write_source(program, directory)
    try:
        ast.parse(path.read_text(), path.name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        raise CompileError(f"{path.name}:{line}: {error.args[0]}", str(error)) from error
    return Artifact(
        arch=program.target.arch,
        format="python",
        path=str(path),
        sha=hashlib.sha256(path.read_bytes()).hexdigest(),
        resources={},
        compiler=f"none; its syntax was read by Python {platform.python_version()}",
        compiler_sha="",
        command="",
        checked="nothing was compiled ahead of time",
        seconds=time.perf_counter() - started,
    )


@dataclass
class Launches:
    """How many kernels of the candidate's own ran."""

    count: int = 0
    elsewhere: tuple[str, ...] = ()
    """Kernels on another stream than the one a caller waits for, where a profiler tells."""


class TorchModuleExecutor(Executor):
    """Runs ModelNew by PyTorch; what counts its kernels is the backend's."""

    device: ClassVar[str]
    """`cpu` or `cuda`, as PyTorch calls it."""

    def reads(self, program: Program) -> bool:
        """Files that define ModelNew only."""
        return is_module(program)

    def accepts(self, program: Program) -> str | None:
        """None when PyTorch is here, and on a device when that is the program's arch."""
        try:
            version("torch")
        except PackageNotFoundError:
            return "torch is not installed; pip install torch"
        return self.refusal(program)

    @abstractmethod
    def refusal(self, program: Program) -> str | None:
        """Why this machine cannot run `program`; None when it can."""

    @abstractmethod
    def counting(self, program: Program) -> AbstractContextManager[Launches]:
        """Counts the launches of the program's own kernels while it is entered."""

    def ran_on(self) -> RanOn:
        """This CPU."""
        return RanOn(vendor="cpu", arch=platform.machine(), name=platform.processor() or "CPU")

    def compiler(self) -> tuple[str, str]:
        """PyTorch, which runs the file; the hash is that of its native library."""
        return f"torch {version('torch')}", _library_sha()

    def load(self, program: Program, artifact: Artifact | None, directory: Path) -> Loaded:
        """Imports the file; CompileError with its line when that fails."""
        reason = self.accepts(program)
        if reason:
            raise ExecutionError(f"{self.name}: {reason}")
        held = _Held()
        module = import_source(write_source(program, directory))
        return RunningModule(program, module, self, held)


def _library_sha() -> str:
    spec = importlib.util.find_spec("torch")
    assert spec is not None and spec.origin is not None
    found = sorted((Path(spec.origin).parent / "lib").glob("libtorch_cpu*"))
    if not found:
        return ""
    with found[0].open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Held:
    """PyTorch's functions as they were before the candidate was imported."""

    def __init__(self) -> None:
        import torch

        self.tensor: type = torch.Tensor
        self.parts = {
            name: getattr(torch.Tensor, name)
            for name in ("detach", "cpu", "contiguous", "numpy", "view", "copy_", "to", "clone")
        }
        self.synchronize = torch.cuda.synchronize
        self.empty = torch.empty

    def array(self, tensor: Any, buffer: Buffer, launcher: str) -> np.ndarray:
        """What `tensor` holds. RefusedError when it only looks like one, ExecutionError when it
        is not what the task returns.
        """
        exact: Any = self.tensor
        if type(tensor) is not exact or vars(tensor):
            raise RefusedError(
                f"{launcher} returned {type(tensor).__name__} for {buffer.name!r}: the output must "
                "be a torch.Tensor itself, without attributes of its own"
            )
        shape, dtype = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
        if shape != buffer.shape or dtype != buffer.dtype:
            raise ExecutionError(
                f"{launcher} returned {dtype} {shape} for {buffer.name!r}, which is "
                f"{buffer.dtype} {buffer.shape}"
            )
        return self.numpy(tensor)

    def numpy(self, tensor: Any) -> np.ndarray:
        """A private copy of what `tensor` holds."""
        import torch

        parts = self.parts
        host = parts["contiguous"](parts["cpu"](parts["detach"](tensor)))
        if host.dtype == torch.bfloat16:
            import ml_dtypes

            bits: np.ndarray = parts["numpy"](parts["view"](host, torch.int16))
            return np.array(bits.view(ml_dtypes.bfloat16))
        return np.array(parts["numpy"](host), order="C", copy=True)


class RunningModule(Loaded):
    """A ModelNew with the parameters of the task's reference."""

    def __init__(
        self, program: Program, module: ModuleType, executor: TorchModuleExecutor, held: _Held
    ) -> None:
        self._program = program
        self._executor = executor
        self._held = held
        self._inputs: dict[str, Any] = {}
        """Tensors on the device, kept from run to run: the same addresses, other values."""
        construction = _construction(program)
        self._names: Mapping[str, str] = construction["parameters"]
        self._optional = frozenset(construction["optional"])
        self._model = self._construct(module, construction["arguments"])

    def _construct(self, module: ModuleType, arguments: Mapping[str, Any]) -> Any:
        import torch

        made = getattr(module, LAUNCHER, None)
        if not (inspect.isclass(made) and issubclass(made, torch.nn.Module)):
            raise CompileError(
                f"{self._program.sources[-1].name} defines no class {LAUNCHER}(nn.Module)"
            )
        try:
            taken = inspect.signature(made.__init__).parameters
            by_name = arguments.keys() <= taken.keys()
            torch.manual_seed(0)
            model = made(**arguments) if by_name else made(*arguments.values())
        except Exception as error:
            given = ", ".join(f"{k}={v!r}" for k, v in arguments.items())
            raise ExecutionError(
                f"{LAUNCHER}({given}) failed: {type(error).__name__}: {error}"
            ) from error
        return (
            model.to(self._executor.device).eval()
            if _evaluates(self._program)
            else model.to(self._executor.device)
        )

    def run(self, inputs: Arrays, schedule: str = "") -> dict[str, np.ndarray]:
        """One forward pass; see Loaded.run. RefusedError where no kernel of its own ran."""
        import torch

        if schedule:
            raise ExecutionError(f"{self._executor.name} has no schedule {schedule!r}")
        self._take(inputs)
        arguments = self._arguments()
        with (
            self._executor.counting(self._program) as launches,
            poisoned_allocations(),
            torch.no_grad(),
        ):
            try:
                returned = self._model(*arguments)
                self._synchronize()
            except Exception as error:
                cause = error.__cause__ or error
                raise ExecutionError(
                    f"{LAUNCHER}.forward failed: {type(cause).__name__}: {cause}"
                ) from error
        if launches.elsewhere:
            raise RefusedError(
                f"{', '.join(launches.elsewhere)} ran on a stream of its own: who calls it would "
                "not wait for that, and a clock on the caller's stream would not see it"
            )
        outputs = self._collect(returned)
        self._unchanged(inputs)
        if not launches.count and not self._program.variant.parameters.get("library"):
            raise RefusedError(
                "no kernel of its own ran: what it returns was computed some other way"
            )
        return outputs

    def _synchronize(self) -> None:
        if self._executor.device != "cpu":
            self._held.synchronize()

    def _take(self, inputs: Arrays) -> None:
        """Puts `inputs` into the tensors of this module, parameters into the model's."""
        for buffer in self._program.with_role(BufferRole.INPUT):
            fresh = _tensor(inputs[buffer.name])
            kept = self._inputs.get(buffer.name)
            if kept is None:
                self._inputs[buffer.name] = fresh.to(self._executor.device)
            else:
                self._held.parts["copy_"](kept, fresh)
        own = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}
        wanted = {self._names[b.name]: b.name for b in self._given()}
        missing = sorted(wanted.keys() - own.keys() - self._optional)
        unknown = sorted(set(self._model.state_dict()) - wanted.keys())
        if missing or unknown:
            what = f"has no {', '.join(missing)}" if missing else f"adds {', '.join(unknown)}"
            raise RefusedError(
                f"{LAUNCHER} {what}: its state must have the reference's keys, no more and no "
                "fewer, so that it computes with the same parameters"
            )
        for dotted, name in wanted.items():
            if dotted not in own:
                continue
            target, fresh = own[dotted], _tensor(inputs[name])
            if target.shape != fresh.shape:
                raise RefusedError(
                    f"{LAUNCHER}.{dotted} is {tuple(target.shape)}, the reference's is "
                    f"{tuple(fresh.shape)}"
                )
            if target.dtype != fresh.dtype:
                target.data = self._held.parts["to"](target.data, fresh.dtype)
            self._held.parts["copy_"](target.data, fresh)

    def _given(self) -> tuple[Buffer, ...]:
        return self._program.with_role(BufferRole.PARAMETER, BufferRole.STATE)

    def _arguments(self) -> list[Any]:
        return [self._inputs[b.name] for b in self._program.with_role(BufferRole.INPUT)]

    def _collect(self, returned: Any) -> dict[str, np.ndarray]:
        buffers = self._program.with_role(BufferRole.OUTPUT)
        values: Sequence[Any] = returned if type(returned) in (tuple, list) else (returned,)
        if len(values) != len(buffers):
            raise ExecutionError(
                f"{LAUNCHER} returned {len(values)} values; the task has {len(buffers)} outputs"
            )
        found = {
            b.name: self._held.array(v, b, LAUNCHER) for b, v in zip(buffers, values, strict=True)
        }
        states = dict(self._model.named_buffers())
        for buffer in mutated_states(self._program):
            found[buffer.name] = self._held.numpy(states[self._names[buffer.name]])
        return found

    def _unchanged(self, inputs: Arrays) -> None:
        may_change = {b.name for b in mutated_states(self._program)}
        own = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}
        now = dict(self._inputs)
        now |= {b.name: own[n] for b in self._given() if (n := self._names[b.name]) in own}
        for name, tensor in now.items():
            before = np.ascontiguousarray(inputs[name])
            if name not in may_change and before.tobytes() != self._held.numpy(tensor).tobytes():
                raise InputChangedError(f"{LAUNCHER} changed its input {name!r}")

    def time(self, inputs: Arrays, samples: int) -> list[float]:
        """Seconds of `samples` calls by device events, every stream idle before and after each."""
        import torch

        if self._executor.device == "cpu":
            raise ExecutionError("a CPU's times say nothing of the target")
        cuda: Any = torch.cuda
        self._take(inputs)
        arguments = self._arguments()
        seconds = []
        with torch.no_grad():
            for _ in range(WARM_UP_RUNS):
                self._model(*arguments)
            properties = torch.cuda.get_device_properties(0)
            flush = self._held.empty(
                self.flush_bytes(int(properties.L2_cache_size)), dtype=torch.int8, device="cuda"
            )
            for _ in range(samples):
                flush.zero_()
                self._held.synchronize()
                before, after = (cuda.Event(enable_timing=True) for _ in range(2))
                before.record()
                self._model(*arguments)
                # work on another stream ends before the mark, so that the mark counts it
                self._held.synchronize()
                after.record()
                self._held.synchronize()
                seconds.append(before.elapsed_time(after) / 1e3)
        return seconds


def _evaluates(program: Program) -> bool:
    """Whether the reference is in evaluation mode: nothing of its state changes."""
    return not mutated_states(program)


def _construction(program: Program) -> dict[str, Any]:
    """What the size block of `program` says, read as a literal: no name of the candidate's."""
    tree = ast.parse(program.sources[-1].sizes)
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == CONSTRUCTION:
            found: dict[str, Any] = ast.literal_eval(node.value)
            return found
    raise ExecutionError(f"the program has no {CONSTRUCTION} in its block of sizes")


def _tensor(array: np.ndarray) -> Any:
    """A tensor with a copy of `array`."""
    import torch

    copy = np.array(array, order="C", copy=True)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(copy.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(copy)


@contextmanager
def poisoned_allocations() -> Iterator[None]:
    """NaN (or the largest integer) in memory that torch.empty gives, as torch itself offers it."""
    import torch

    deterministic: Any = torch.utils.deterministic
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    deterministic.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        deterministic.fill_uninitialized_memory = fill


@contextmanager
def counted_calls(owner: Any, name: str) -> Iterator[Launches]:
    """Counts calls of the method `name` of the class `owner`."""
    launches, original = Launches(), getattr(owner, name)

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        launches.count += 1  # one that was refused has launched nothing
        return result

    setattr(owner, name, counted)
    try:
        yield launches
    finally:
        setattr(owner, name, original)


@contextmanager
def profiled(own: frozenset[str] = frozenset()) -> Iterator[Launches]:
    """Counts launches of kernels that are called as one of `own`, by PyTorch's profiler.

    It also sees on which stream each ran. ExecutionError where it sees nothing at all.
    """
    import torch

    launches = Launches()
    profiler: Any = importlib.import_module("torch.profiler")
    activities = [profiler.ProfilerActivity.CUDA]
    synchronize = torch.cuda.synchronize
    with profiler.profile(activities=activities) as profile:
        torch.zeros(1, device="cuda")  # the first kernel, on the stream of who calls
        synchronize()
        yield launches
        synchronize()
    device = importlib.import_module("torch.autograd").DeviceType.CUDA
    seen = [e for e in profile.events() if e.device_type == device and not e.name.startswith("Mem")]
    seen.sort(key=lambda event: event.time_range.start)
    if not seen:
        raise ExecutionError("PyTorch's profiler sees no kernels here; is CUPTI installed?")
    stream = seen[0].device_resource_id
    others = [e.name for e in seen[1:] if e.device_resource_id != stream]
    launches.elsewhere = tuple(dict.fromkeys(name[:60] for name in others))
    launches.count += sum(bool(own & set(_words(event.name))) for event in seen[1:])


def _words(name: str) -> list[str]:
    """The identifiers in the name of a kernel, which C++ may have decorated."""
    return "".join(c if c.isalnum() or c == "_" else " " for c in name).split()
