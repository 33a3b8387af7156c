"""What the options ask for: a task at the sizes wanted, a target that exists."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from pydantic import ValidationError

from mkgen.codegen.backend import Backend
from mkgen.codegen.registry import backend_named
from mkgen.errors import UserError, nearest
from mkgen.evaluate.limits import target_limits
from mkgen.expression import Name, names, parse
from mkgen.profile import find_profile
from mkgen.program import Dtype
from mkgen.target import Target
from mkgen.task import Sizes, Task, find_task, load_task

if TYPE_CHECKING:
    from mkgen.evaluate.protocol import Settings

FLOATING = ("float64", "float32", "float16", "bfloat16")


def resolve_target(target: str | None, backend: str | None) -> tuple[Backend, Target]:
    """The target of `--target backend:arch[@device]` or of `--backend NAME`. UserError."""
    if (target is None) == (backend is None):
        raise UserError("say where to: --target backend:arch, or --backend NAME (its usual arch)")
    if target is None:
        assert backend is not None
        found = backend_named(backend)
        return found, Target(backend=found.name, arch=found.default_arch)
    try:
        wanted = Target.parse(target)
    except ValidationError:
        raise UserError(
            f"{target!r} is no target; one reads backend:arch or backend:arch@device, as in "
            "hip:gfx942 or cuda:sm_90a@h200 (mkgen targets lists them)"
        ) from None
    found = backend_named(wanted.backend)
    target_limits(found, Target(backend=wanted.backend, arch=wanted.arch))
    if wanted.device is not None:
        _check_device(wanted)
    return found, wanted


def _check_device(target: Target) -> None:
    assert target.device is not None
    profile = find_profile(target.device)
    arch = profile.archs.get(target.backend)
    if arch is None:
        known = ", ".join(f"{b}:{a}" for b, a in profile.archs.items())
        raise UserError(f"{target.device} ({profile.title}) is no device of {target.backend}; it "
                        f"is {known}")  # fmt: skip
    # sm_90 code runs on a device whose own arch is sm_90a
    if target.arch not in (arch, arch.removesuffix("a")):
        raise UserError(
            f"{target.device} ({profile.title}) is {target.backend}:{arch}, not {target.arch}"
        )


def resolve_task(name: str, shapes: Sequence[str] = (), dtype: str | None = None) -> Task:
    """The task called `name`, or in the file `name`, at the sizes and dtype asked for.

    UserError for an unknown name, a broken file, a shape that contradicts the task.
    """
    found = resolve_tasks(name, shapes, dtype)
    if len(found) != 1:
        path = name.partition("::")[0]
        listed = ", ".join(f"{path}::group{i}" for i in range(1, len(found) + 1))
        raise UserError(f"{path} has {len(found)} sets of inputs; choose one of {listed}")
    return found[0]


def resolve_tasks(
    name: str, shapes: Sequence[str] = (), dtype: str | None = None
) -> tuple[Task, ...]:
    """As `resolve_task`; every task of a file that gives several sets of inputs."""
    path_text, _, wanted = name.partition("::")
    if not path_text.endswith(".py"):
        if "/" in path_text or os.path.exists(path_text):
            raise UserError(f"{path_text!r} is no task file: one is Python and ends in .py")
        return (_derived(find_task(name), shapes, dtype),)
    from mkgen.foreign import gives_inputs, holds_task, load_foreign

    # absolute, so that the user's file is recognised among the frames of a traceback
    path = Path(os.path.abspath(path_text))
    if holds_task(path):
        return (_derived(load_task(path, wanted or None), shapes, dtype),)
    if gives_inputs(path):
        tasks = load_foreign(path, wanted or None)
        return tuple(_derived(task, shapes, dtype) for task in tasks)
    given = dict(_parse_shape(text) for text in shapes)
    if len(given) < len(shapes):
        raise UserError("--shape: an input is given twice")
    return tuple(_derived(t, (), dtype) for t in load_foreign(path, wanted or None, given))


def _derived(task: Task, shapes: Sequence[str], dtype: str | None) -> Task:
    if dtype is not None:
        task = with_dtype(task, dtype)
    return with_shapes(task, shapes) if shapes else task


def with_dtype(task: Task, dtype: str) -> Task:
    """`task` with its floating-point inputs and parameters in `dtype`. UserError when it cannot be.

    Another task, with a hash of its own: it is judged by what PyTorch gives in that dtype.
    """
    if dtype not in FLOATING:
        known = get_args(Dtype)
        reason = (
            f"--dtype takes a floating-point type ({', '.join(FLOATING)}), not {dtype}"
            if dtype in known
            else f"no dtype {dtype!r}.{nearest(dtype, FLOATING)}"
        )
        raise UserError(reason)
    if not any(t.dtype in FLOATING for t in task.inputs.values()):
        raise UserError(f"task {task.name} has no floating-point input to give the dtype {dtype}")
    inputs = {
        key: tensor.model_copy(update={"dtype": dtype}) if tensor.dtype in FLOATING else tensor
        for key, tensor in task.inputs.items()
    }
    from torch.nn import Module

    reference = task.reference
    is_class = isinstance(reference, type) and issubclass(reference, Module)
    if not isinstance(reference, Module) and not is_class:
        return task if inputs == task.inputs else task.model_copy(update={"inputs": inputs})
    own = {t.dtype for t in task.inputs.values() if t.dtype in FLOATING}
    if own == {dtype} and task.parameter_dtype in (None, dtype):
        return task
    return task.model_copy(update={"inputs": inputs, "parameter_dtype": dtype})


def with_shapes(task: Task, shapes: Sequence[str]) -> Task:
    """`task` whose bench sizes are those of `shapes` (`x=32,64,56,56`), others kept. UserError.

    Calls the reference on tensors without memory: a shape it refuses is the user's to mend.
    """
    changed = resized(task, shapes)
    if _runs_on_a_cpu(changed) and changed.bench not in (*task.check, *task.heldout):
        # where the sizes asked for are small, what runs is not only the same text
        changed = changed.model_copy(update={"heldout": (*task.heldout, changed.bench)})
    return changed


def resized(task: Task, shapes: Sequence[str]) -> Task:
    """`with_shapes` as far as the declarations of the inputs go; nothing is called. UserError."""
    given = _parse_shapes(task, shapes)
    sizes: Sizes = {}
    said: dict[str, str] = {}
    for key, shape in given.items():
        dimensions = task.inputs[key].dimensions()
        if len(dimensions) != len(shape):
            raise UserError(
                f"--shape {key}: the task declares {key} as [{task.inputs[key].shape}], which is "
                f"{len(dimensions)} sizes, not {len(shape)}"
            )
        for dimension, value in zip(dimensions, shape, strict=True):
            parsed = parse(dimension)
            if not isinstance(parsed, Name):
                continue
            if sizes.setdefault(parsed.name, value) != value:
                raise UserError(
                    f"--shape {key}: {parsed.name} cannot be {value} here and "
                    f"{sizes[parsed.name]} in {said[parsed.name]}"
                )
            said.setdefault(parsed.name, key)
    merged = {**task.bench, **sizes}
    _check_expressions(task, given, merged)
    return task.model_copy(update={"bench": merged})


def _parse_shapes(task: Task, shapes: Sequence[str]) -> dict[str, tuple[int, ...]]:
    given: dict[str, tuple[int, ...]] = {}
    for text in shapes:
        key, shape = _parse_shape(text)
        if key not in task.inputs:
            raise UserError(f"--shape {text}: task {task.name} has no input {key!r}."
                            f"{nearest(key, task.inputs)}")  # fmt: skip
        if key in given:
            raise UserError(f"--shape {key} is given twice")
        given[key] = shape
    return given


def _parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Input and sizes of `x=32,64`. UserError."""
    key, separator, values = text.partition("=")
    if not separator:
        raise UserError(f"--shape {text!r}: write INPUT=SIZE,SIZE, as in x=32,64,56,56")
    try:
        shape = tuple(int(v) for v in values.split(",") if v.strip())
    except ValueError:
        raise UserError(f"--shape {text}: {values!r} is not a list of integers") from None
    if any(v < 1 for v in shape):
        raise UserError(f"--shape {text}: every size must be at least 1")
    return key.strip(), shape


def _check_expressions(task: Task, given: dict[str, tuple[int, ...]], sizes: Sizes) -> None:
    for key, shape in given.items():
        resolved = task.inputs[key].resolve(sizes)
        for dimension, value, is_ in zip(
            task.inputs[key].dimensions(), shape, resolved, strict=True
        ):
            if value != is_:
                free = sorted(names(parse(dimension)))
                why = f", which is {is_} for " + ", ".join(f"{n}={sizes[n]}" for n in free)
                raise UserError(f"--shape {key}: the task fixes this dimension to {dimension}"
                                f"{why if free else ''}; it cannot be {value}")  # fmt: skip


def _runs_on_a_cpu(task: Task) -> bool:
    """Whether the bench sizes are so small that a check runs them. UserError for refused ones."""
    from torch._subclasses.fake_tensor import (
        DataDependentOutputException,
        DynamicOutputShapeException,
        UnsupportedOperatorException,
    )

    from mkgen.foreign import traced
    from mkgen.foreign.shrink import MAX_ELEMENTS, MAX_VOLUME

    undecided = (
        DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException,
    )  # fmt: skip
    listed = ", ".join(f"{k}={v}" for k, v in task.bench.items())
    try:
        found = traced(task, task.bench)
    except undecided:
        return False  # its shapes depend on values, which only a real run can tell
    except UserError:
        raise
    except Exception as error:  # a user's reference may raise anything
        first = (str(error).strip().splitlines() or [""])[0]
        raise UserError(
            f"--shape: the reference of {task.name} refuses {listed}: "
            f"{type(error).__name__}: {first}"
        ) from error
    if any(0 in shape for shape in found.outputs):
        raise UserError(f"--shape: the output of {task.name} is empty for {listed}")
    if task.check and traced(task, task.check[0]).operations != found.operations:
        raise UserError(
            f"--shape: the reference of {task.name} does other operations for {listed} than at its "
            "check sizes, so that one text cannot serve both; write a task for these sizes"
        )
    return found.elements <= MAX_ELEMENTS and found.volume <= MAX_VOLUME


def settings_of(
    *,
    seed: int,
    timeout: float | None,
    required: Sequence[str],
    on_device: bool,
    compared: Sequence[str] = (),
    sanitize: bool = False,
) -> Settings:
    """Evaluation settings from the common options. UserError for baselines without a time."""
    from mkgen.codegen.candidate import scales
    from mkgen.evaluate.cache import CompileCache
    from mkgen.evaluate.oracle import Judge
    from mkgen.evaluate.protocol import Settings
    from mkgen.record import EvidenceKind

    kinds = tuple(EvidenceKind(kind) for kind in required)
    if compared and EvidenceKind.TIMED not in kinds:
        raise UserError("--compare says what is timed beside the kernel: add --require timed")
    return Settings(
        judge=Judge(scales, seed=seed),
        cache=CompileCache(),
        require=kinds,
        device=on_device,
        sanitize=sanitize,
        samples=20 if EvidenceKind.TIMED in kinds else 0,
        compare=tuple(dict.fromkeys(compared)),
        compile_timeout=timeout or 300.0,
        run_timeout=timeout or 120.0,
        own_run_timeout=timeout or 300.0,
    )


def precision_of(task: Task, precision: str | None) -> Task:
    """`task` in the precision class asked for, else in its own."""
    from mkgen.program import PrecisionClass

    if precision is None:
        return task
    return task.model_copy(update={"precision": PrecisionClass(precision)})
