"""Files that define `ModelNew`, an nn.Module of PyTorch: how they are checked, loaded and run.

The child is given the candidate's file and nothing of the task: no reference, no expected values.
The harness makes the inputs, loads the reference's parameters into the candidate by name, and
reads the outputs back by functions that it has taken hold of before the candidate is imported
(mkgen.codegen.torch_held).
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
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mkgen.codegen.backend import Arrays, Executor, Loaded
from mkgen.codegen.source_module import import_source, mutated_states, write_source
from mkgen.codegen.timer import Timer, rolling
from mkgen.codegen.torch_held import Held, held
from mkgen.codegen.torch_timer import TorchTimer, last_level_cache, probe_copies
from mkgen.errors import CompileError, ExecutionError, InputChangedError, RefusedError
from mkgen.program import Artifact, Buffer, BufferRole, Program
from mkgen.reading import module_tree
from mkgen.record import EvidenceKind, RanOn

if TYPE_CHECKING:
    import torch

LAUNCHER = "ModelNew"
#: What the size block of such a file defines: constructor arguments, and parameters by name.
CONSTRUCTION = "CONSTRUCTION"


def is_module(program: Program) -> bool:
    """Whether `program` is a file that defines ModelNew."""
    return program.sources[-1].language == "python" and program.launcher == LAUNCHER


def check_module(program: Program, directory: Path) -> Artifact:
    """The file as an "artifact": its syntax was read, nothing was compiled. CompileError."""
    started = time.perf_counter()
    path = write_source(program, directory)
    try:
        module_tree(path.read_text())
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
    """`cpu`, or an accelerator as PyTorch calls it; the first of its kind."""

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
        held()  # what reads its outputs and times it must be PyTorch's own
        module = import_source(write_source(program, directory))
        return RunningModule(program, module, self)

    def torch_device(self) -> torch.device:
        """Where the module and its tensors are."""
        import torch

        return torch.device(self.device) if self.device == "cpu" else torch.device(self.device, 0)

    def last_level_cache(self) -> int:
        """See Executor.last_level_cache."""
        return last_level_cache(self.torch_device())

    def probe_copies(self, size: int, flush_bytes: int, repeats: int) -> list[float]:
        """See Executor.probe_copies."""
        return probe_copies(self.torch_device(), size, flush_bytes, repeats)

    def settle(self) -> None:
        """Undoes what a program may have set to keep data in the cache; before each timed call."""


def _library_sha() -> str:
    spec = importlib.util.find_spec("torch")
    assert spec is not None and spec.origin is not None
    found = sorted((Path(spec.origin).parent / "lib").glob("libtorch_cpu*"))
    if not found:
        return ""
    with found[0].open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checked(tensor: Any, buffer: Buffer) -> Any:
    """`tensor`, which ModelNew returned for `buffer`. RefusedError when it only looks like one,
    ExecutionError when it is not what the task returns.
    """
    exact: Any = held().tensor
    if type(tensor) is not exact or vars(tensor):
        raise RefusedError(
            f"{LAUNCHER} returned {type(tensor).__name__} for {buffer.name!r}: the output must "
            "be a torch.Tensor itself, without attributes of its own"
        )
    shape, dtype = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
    if shape != buffer.shape or dtype != buffer.dtype:
        raise ExecutionError(
            f"{LAUNCHER} returned {dtype} {shape} for {buffer.name!r}, which is "
            f"{buffer.dtype} {buffer.shape}"
        )
    return tensor


class RunningModule(Loaded):
    """A ModelNew with the parameters of the task's reference."""

    def __init__(self, program: Program, module: ModuleType, executor: TorchModuleExecutor) -> None:
        self._program = program
        self._executor = executor
        self._held: Held = held()
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
        model = model.to(self._executor.torch_device())
        return model.eval() if _evaluates(self._program) else model

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
        outputs = {name: self._held.array(v) for name, v in self._named(returned).items()}
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
                self._inputs[buffer.name] = self._held.to(fresh, self._executor.torch_device())
            else:
                self._held.copy(kept, fresh)
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
                target.data = self._held.to(target.data, fresh.dtype)
            self._held.copy(target.data, fresh)

    def _given(self) -> tuple[Buffer, ...]:
        return self._program.with_role(BufferRole.PARAMETER, BufferRole.STATE)

    def _arguments(self) -> list[Any]:
        return [self._inputs[b.name] for b in self._program.with_role(BufferRole.INPUT)]

    def _named(self, returned: Any) -> dict[str, Any]:
        """The tensors that a call returned, and written state, by buffer name. See `_checked`."""
        buffers = self._program.with_role(BufferRole.OUTPUT)
        values: Sequence[Any] = returned if type(returned) in (tuple, list) else (returned,)
        if len(values) != len(buffers):
            raise ExecutionError(
                f"{LAUNCHER} returned {len(values)} values; the task has {len(buffers)} outputs"
            )
        found = {b.name: _checked(v, b) for b, v in zip(buffers, values, strict=True)}
        return found | self._states()

    def _states(self) -> dict[str, Any]:
        """What the model holds now in the buffers that a call changes, by buffer name."""
        own = dict(self._model.named_buffers())
        return {b.name: own[self._names[b.name]] for b in mutated_states(self._program)}

    def _unchanged(self, inputs: Arrays) -> None:
        may_change = {b.name for b in mutated_states(self._program)}
        own = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}
        now = dict(self._inputs)
        now |= {b.name: own[n] for b in self._given() if (n := self._names[b.name]) in own}
        for name, tensor in now.items():
            before = np.ascontiguousarray(inputs[name])
            if name not in may_change and before.tobytes() != self._held.array(tensor).tobytes():
                raise InputChangedError(f"{LAUNCHER} changed its input {name!r}")

    def timer(self, inputs: Arrays, flush_bytes: int = 0, *, rolls: bool = False) -> Timer:
        """See Loaded.timer; RefusedError as `run`. ExecutionError where it is emulated."""
        executor = self._executor
        if executor.kind is not EvidenceKind.DEVICE:
            raise ExecutionError(f"{executor.name}'s times say nothing of the target")
        self._take(inputs)
        states = self._states()

        def settle() -> None:
            executor.settle()
            self._put_back(states)

        return TorchTimer(
            self._model,
            {b.name: self._inputs[b.name] for b in self._program.with_role(BufferRole.INPUT)},
            self._named,
            executor.torch_device(),
            flush_bytes or self.flush_bytes(executor.last_level_cache()),
            inputs=rolling(self._program) if rolls else (),
            restored=states,
            settle=settle,
        )

    def _put_back(self, states: Mapping[str, Any]) -> None:
        """Makes `states` the model's buffers again, where a call has put others in their place."""
        for name, tensor in states.items():
            owner, _, last = self._names[name].rpartition(".")
            setattr(self._model.get_submodule(owner), last, tensor)


def _evaluates(program: Program) -> bool:
    """Whether the reference is in evaluation mode: nothing of its state changes."""
    return not mutated_states(program)


def _construction(program: Program) -> dict[str, Any]:
    """What the size block of `program` says, read as a literal: no name of the candidate's."""
    tree = module_tree(program.sources[-1].sizes)
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
def profiled(device: str, own: frozenset[str] = frozenset()) -> Iterator[Launches]:
    """Counts launches on `device` of kernels called as one of `own`, by PyTorch's profiler.

    It also sees on which stream each ran. ExecutionError where it sees nothing at all.
    """
    import torch

    launches = Launches()
    profiler: Any = importlib.import_module("torch.profiler")
    activities = [getattr(profiler.ProfilerActivity, device.upper())]
    synchronize = held().synchronize
    with profiler.profile(activities=activities) as profile:
        torch.zeros(1, device=device)  # the first kernel, on the stream of who calls
        synchronize()
        yield launches
        synchronize()
    kind = getattr(importlib.import_module("torch.autograd").DeviceType, device.upper())
    seen = [e for e in profile.events() if e.device_type == kind and not e.name.startswith("Mem")]
    seen.sort(key=lambda event: event.time_range.start)
    if not seen:
        raise ExecutionError(
            "PyTorch's profiler sees no kernels here; is the driver's library that traces them "
            "installed?"
        )
    stream = seen[0].device_resource_id
    others = [e.name for e in seen[1:] if e.device_resource_id != stream]
    launches.elsewhere = tuple(dict.fromkeys(name[:60] for name in others))
    launches.count += sum(bool(own & set(_words(event.name))) for event in seen[1:])


def _words(name: str) -> list[str]:
    """The identifiers in the name of a kernel, which C++ may have decorated."""
    return "".join(c if c.isalnum() or c == "_" else " " for c in name).split()
