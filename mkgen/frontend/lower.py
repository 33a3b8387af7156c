"""Traces a task with torch.export and lowers its ATen graph, op by op, through one table."""

from __future__ import annotations

import contextlib
import importlib
import operator
import re
import types
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from mkgen.errors import UnsupportedError, UserError
from mkgen.expression import Expression, Int, Name, parse
from mkgen.frontend.context import Context, Operand, apply, constant
from mkgen.frontend.literals import Literals
from mkgen.frontend.mutation import changed_argument, functional_form, replace_operand
from mkgen.ir.nest import (
    WIDENED,
    Graph,
    IndexValue,
    Indirect,
    Load,
    Loop,
    Nest,
    Store,
    TensorInfo,
    Value,
    map_value,
)  # fmt: skip
from mkgen.ir.split import split_whole
from mkgen.task import Task

Lowering = Callable[..., Operand | tuple[Operand, ...]]
Registered = TypeVar("Registered", bound=Lowering)

#: ATen overload -> lowering. The modules of one op family each fill it by `lowers`; it is whole
#: after `load_families`.
TABLE: dict[str, Lowering] = {}

#: ATen overload -> why it has no lowering and will have none.
REFUSED: dict[str, str] = {}


#: Modules of lowerings, one op family each.
FAMILIES = (
    "activation", "attention", "contraction", "convolution", "creation", "index", "joining",
    "layout", "loss", "normalization", "padding", "pointwise", "recurrence", "reduction", "resize",
    "scan", "slicing", "window",
)  # fmt: skip

#: What the tracer adds to check its own assumptions; nothing is computed.
CHECKS = ("aten._assert_tensor_metadata.default",)


def lowers(*overloads: str) -> Callable[[Registered], Registered]:
    """Registers a lowering: `(context, node name, *args, **kwargs)`, tensors as Operands.

    A user's own replaces ours, whichever comes first. ValueError when two of ours meet.
    """

    def register(function: Registered) -> Registered:
        for overload in overloads:
            other = TABLE.get(overload)
            if other is None or not _ours(function):
                TABLE[overload] = function
            elif _ours(other):
                raise ValueError(f"{overload} is lowered by {other.__module__} already")
        return function

    return register


def _ours(function: Lowering) -> bool:
    return function.__module__.startswith(f"{__package__}.")


def load_families() -> None:
    """Fills TABLE and REFUSED, by importing every module of FAMILIES."""
    for family in FAMILIES:
        importlib.import_module(f"mkgen.frontend.{family}")


def lower_task(task: Task) -> Graph:
    """The nests of `task`, in its own size names.

    Traced once, at the sizes of the first check workload; other sizes enter as numbers only, so
    that one text serves all. Raises UnsupportedError naming op, file and line; UserError when the
    reference raises.
    """
    load_families()
    sizes = dict((task.check or (task.bench,))[0])
    program = _trace(task, sizes)
    graph = Graph(task.name, {}, [], (), {})
    context = Context(graph, sizes, literals=Literals(task, _trace, graph))
    return _lower(task, program, context)


def _trace(task: Task, sizes: dict[str, int], fake: bool = False) -> Any:
    """The exported program at `sizes`; `fake`: without storage for any tensor."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode() if fake else contextlib.nullcontext():
        return _export(task, sizes)


def _export(task: Task, sizes: dict[str, int]) -> Any:
    import torch

    reference = _called_forward(task.module(sizes))

    class Wrapped(torch.nn.Module):
        """torch.export takes modules only."""

        def __init__(self) -> None:
            super().__init__()
            self.reference = reference

        def forward(self, *args: Any) -> Any:
            return self.reference(*args)

    examples = tuple(
        torch.zeros(tensor.resolve(sizes), dtype=getattr(torch, tensor.dtype))
        for tensor in task.inputs.values()
    )
    module = reference if isinstance(reference, torch.nn.Module) else Wrapped()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # of PyTorch's own recurrent modules, which hold their weights twice
            warnings.filterwarnings("ignore", "The tensor attribute.* assigned during export")
            program = torch.export.export(module, examples, strict=False)
            return program.run_decompositions({}) if _writes_a_view(program) else program
    except Exception as error:
        line = _line_of(error, task.path)
        raise UserError(
            f"the reference of task {task.name} raised{line}: {type(error).__name__}: "
            f"{str(error).strip().splitlines()[0] if str(error).strip() else ''}"
        ) from error


def _writes_a_view(program: Any) -> bool:
    """Whether a tensor is written to through a view, which other names then see.

    PyTorch makes such a graph functional; one without needs no such pass, which also takes
    operations apart that are lowered whole.
    """
    return any(
        node.op == "call_function" and _mutates(node) and node.args and _is_view(node.args[0])
        for node in program.graph.nodes
    )


def _mutates(node: Any) -> bool:
    schema = getattr(node.target, "_schema", None)
    first = schema.arguments[0] if schema is not None and schema.arguments else None
    return bool(first is not None and first.alias_info and first.alias_info.is_write)


def _is_view(node: Any) -> bool:
    schema = getattr(getattr(node, "target", None), "_schema", None)
    return bool(schema is not None and any(r.alias_info for r in schema.returns) and not
                _mutates(node))  # fmt: skip


def _called_forward(reference: Callable[..., Any]) -> Callable[..., Any]:
    # PyTorch's tracer keeps the stack frames of functions called `forward` only; without the
    # user's own frame no error could name the line of an operation.
    if not isinstance(reference, types.FunctionType):
        return reference
    renamed = types.FunctionType(
        reference.__code__.replace(co_name="forward"),
        reference.__globals__,
        reference.__name__,
        reference.__defaults__,
        reference.__closure__,
    )
    renamed.__kwdefaults__ = reference.__kwdefaults__
    return renamed


def _line_of(error: BaseException, path: str) -> str:
    import traceback

    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
    return f" ({path}, line {frames[-1].lineno})" if frames else ""


def _where(node: Any, task: Task) -> str:
    """` (tasks/x.py, line 12: return torch.fft(x))` from the stack the tracer kept."""
    trace = node.meta.get("stack_trace") or ""
    frames = re.findall(r'File "([^"]+)", line (\d+), in [^\n]*\n\s*([^\n]*)', trace)
    own = [f for f in frames if f[0] == task.path] or frames
    return f" ({own[-1][0]}, line {own[-1][1]}: {own[-1][2].strip()})" if own else ""


def _lower(task: Task, program: Any, context: Context) -> Graph:
    from torch.export.graph_signature import InputKind

    operands: dict[str, Operand] = {}
    names = iter(task.inputs.items())
    for spec in program.graph_signature.input_specs:
        placeholder = spec.arg.name
        if spec.kind is InputKind.USER_INPUT:
            name, tensor = next(names)
            shape: tuple[Expression, ...] = tuple(parse(d) for d in tensor.dimensions())
            operands[placeholder] = _declare(context, name, tensor.dtype, shape, "input")
        else:
            tensor_value = (program.state_dict | program.constants)[spec.target]
            if spec.kind is InputKind.CONSTANT_TENSOR and tensor_value.numel() <= _WRITTEN_OUT:
                operands[placeholder] = _written_out(context, tensor_value)
                continue
            name = spec.target.removeprefix("reference.").replace(".", "_")
            dims = _parameter_shape(context, spec.target, tuple(tensor_value.shape))
            dtype = str(tensor_value.dtype).removeprefix("torch.")
            operands[placeholder] = _declare(context, name, dtype, dims, "parameter")
    results: tuple[Any, ...] = ()
    calls = -1
    for node in program.graph.nodes:
        calls += node.op == "call_function"
        if node.op == "call_function" and str(node.target) not in CHECKS:
            context.where, context.position = _where(node, task), calls
            operands[node.name] = _lower_node(context, node, operands)
        elif node.op == "output":
            results = _returned(context, program, node.args[0], operands)
    return split_whole(_finish(context, [operands[r.name] for r in results]))


def _returned(
    context: Context, program: Any, given: tuple[Any, ...], operands: dict[str, Operand]
) -> tuple[Any, ...]:
    """What the reference returns. A graph made functional also gives what was written in place:
    state of a module is kept, an input is refused."""
    from torch.export.graph_signature import InputKind, OutputKind

    signature = program.graph_signature
    buffers = {s.target: s.arg.name for s in signature.input_specs if s.kind is InputKind.BUFFER}
    returned = []
    for spec, result in zip(signature.output_specs, given, strict=True):
        if spec.kind is OutputKind.USER_INPUT_MUTATION:
            name = operands[spec.target].name
            raise context.unsupported(f"the reference changes the input {name} in place; copy it")
        if spec.kind is OutputKind.BUFFER_MUTATION:
            state, value = operands[buffers[spec.target]], operands[result.name]
            axes = context.axes(state.shape)
            context.update(state, axes, value.at(*(Name(a.name) for a in axes)))
        else:
            returned.append(result)
    return tuple(returned)


def _declare(
    context: Context, name: str, dtype: str, shape: tuple[Expression, ...], role: str
) -> Operand:
    context.taken.add(name)
    context.graph.tensors[name] = TensorInfo(name, dtype, shape, role)
    return Operand(name, dtype, shape)


#: A constant of the reference, as `x[:, [2, 0, 1]]` has, stands in the text up to this many values.
_WRITTEN_OUT = 32


def _written_out(context: Context, tensor: Any) -> Operand:
    """A tensor of a few known values: each at its position."""
    shape = tuple(Int(d) for d in tensor.shape)
    axes = context.axes(shape)
    place: Expression = Int(0)
    for axis in axes:
        place = place * axis.extent + Name(axis.name)
    dtype = str(tensor.dtype).removeprefix("torch.")
    numbers = [constant(v, WIDENED.get(dtype, dtype)) for v in tensor.flatten().tolist()]
    value: Value = numbers[-1]
    for at in reversed(range(len(numbers) - 1)):
        here = apply("eq", IndexValue("int32", place), constant(at, "int32"))
        value = apply("where", here, numbers[at], value)
    return context.emit("constant", axes, value)


def _parameter_shape(
    context: Context, target: str, shape: tuple[int, ...]
) -> tuple[Expression, ...]:
    """The dimensions of a parameter, by what they are at every workload."""
    literals = context.literals
    assert literals is not None
    return tuple(
        literals.dimension(target, i, context.where) if d > 1 else Int(d)
        for i, d in enumerate(shape)
    )


def _lower_node(context: Context, node: Any, operands: dict[str, Any]) -> Any:
    import torch

    if node.target is operator.getitem:
        return operands[node.args[0].name][node.args[1]]
    changed = changed_argument(node)
    overload = str(node.target)
    lowering = TABLE.get(overload) or TABLE.get(functional_form(overload) if changed else "")
    if lowering is None and overload in REFUSED:
        raise UnsupportedError(f"{overload}: {REFUSED[overload]}{context.where}")
    if lowering is None:
        raise UnsupportedError(
            f"mkgen has no lowering for {overload}{context.where}. docs/add-an-op.md shows how to "
            "add one; mkgen targets lists what there is."
        )

    def value(argument: Any) -> Any:
        return operands[argument.name] if isinstance(argument, torch.fx.Node) else argument

    args = torch.fx.node.map_arg(_scalars(context, overload, list(node.args)), value)
    kwargs = torch.fx.node.map_arg(dict(node.kwargs), value)
    result = lowering(context, node.name, *args, **kwargs)
    result = _as_traced(result, node.meta.get("val"))
    if changed is not None and result is not operands[changed.name]:
        replace_operand(context, node, changed, result, operands)
    return result


#: Arithmetic whose second operand may be a number that the reference took from a shape.
_ARITHMETIC = tuple(
    f"aten.{op}.{kind}" for op in ("add", "sub", "mul", "div") for kind in ("Tensor", "Scalar")
)


def _scalars(context: Context, overload: str, args: list[Any]) -> list[Any]:
    """`args` with a number that depends on the sizes, `x / math.sqrt(D)`, as a tensor of it."""
    if overload not in _ARITHMETIC or not isinstance(args[1], float | int):
        return args
    assert context.literals is not None
    value = context.literals.scalar(context.position, (1,), context.where)
    if value is None:
        return args
    return [args[0], context.emit("factor", (), value), *args[2:]]


def _as_traced(result: Any, traced: Any) -> Any:
    """`result` with the dtype PyTorch gives it: what is computed in float32 may be float16 there.

    A Python number among the operands, for one, never widens a tensor.
    """
    if isinstance(result, tuple | list):
        values = traced if isinstance(traced, tuple | list) else [None] * len(result)
        return tuple(_as_traced(r, v) for r, v in zip(result, values, strict=True))
    dtype = str(getattr(traced, "dtype", "")).removeprefix("torch.")
    if not isinstance(result, Operand) or dtype == result.dtype or dtype not in WIDENED:
        return result
    return replace(result, dtype=dtype, stored=result.stored or result.dtype)


def _finish(context: Context, results: list[Operand]) -> Graph:
    """Names the outputs y (or y1, y2) unless the user's names are in the way; state comes last."""
    graph = context.graph
    wanted = ["y"] if len(results) == 1 else [f"y{i}" for i in range(1, len(results) + 1)]
    renamed: dict[str, tuple[str, str]] = {}
    for result, wish in zip(results, wanted, strict=True):
        result = _own_tensor(context, result, wish, renamed)
        name = context.fresh(wish if wish not in context.taken else "out")
        renamed[result.name] = (name, result.dtype)
    finished = rename_tensors(graph, renamed)
    for operand, axes, value in context.updates:
        index = tuple(Name(a.name) for a in axes)
        value = _renamed(value, renamed, finished.tensors)
        store = Store(operand.name, operand.shape, index, value)
        finished.nests.append(Nest(f"{operand.name}_update", axes, store, "update"))
    return finished


def _own_tensor(
    context: Context, result: Operand, wish: str, taken: dict[str, tuple[str, str]]
) -> Operand:
    """`result` when it is a tensor of its own, perhaps seen with other dimensions, else a copy."""
    info = context.graph.tensors[result.name]
    loops = [part for part in context.graph.nests if isinstance(part, Loop)]
    # what a loop takes slices of keeps the dimensions that the loop sees
    sliced = {name for loop in loops for name in (*loop.sliced(), *loop.writes())}
    free = result.name not in sliced or info.shape == result.shape
    if info.role == "temporary" and result.name not in taken and free:
        context.graph.tensors[result.name] = replace(info, shape=result.shape)
        return result
    axes = context.axes(result.shape)
    copy = context.emit(f"{wish}_copy", axes, result.at(*(Name(a.name) for a in axes)))
    return replace(copy, dtype=result.dtype)


def rename_tensors(graph: Graph, renamed: dict[str, tuple[str, str]]) -> Graph:
    """`graph` with tensors renamed: old name -> new name and dtype; they are its outputs."""
    tensors = {}
    for name, info in graph.tensors.items():
        new, dtype = renamed.get(name, (name, info.dtype))
        role = "output" if name in renamed else info.role
        tensors[new] = replace(info, name=new, role=role, dtype=dtype)

    def new_name(name: str) -> str:
        return renamed[name][0] if name in renamed else name

    def change(nest: Nest) -> Nest:
        value = _renamed(nest.store.value, renamed, tensors)
        store = replace(nest.store, tensor=new_name(nest.store.tensor), value=value)
        return replace(nest, store=store)

    def change_loop(loop: Loop) -> Loop:
        return replace(
            loop,
            body=tuple(change(n) for n in loop.body),
            carried=tuple((new_name(a), new_name(b)) for a, b in loop.carried),
            collected=tuple((new_name(a), new_name(b)) for a, b in loop.collected),
        )

    nests = [change_loop(n) if isinstance(n, Loop) else change(n) for n in graph.nests]
    outputs = tuple(name for name, _ in renamed.values())
    return Graph(graph.name, tensors, nests, outputs, graph.derived)


def _renamed(
    value: Value, renamed: dict[str, tuple[str, str]], tensors: dict[str, TensorInfo]
) -> Value:
    def change(node: Value) -> Value | None:
        if not isinstance(node, Load) or node.tensor not in renamed:
            return None
        name = renamed[node.tensor][0]
        memory = tensors[name].dtype
        index = tuple(
            Indirect(_renamed(i.value, renamed, tensors)) if isinstance(i, Indirect) else i
            for i in node.index
        )
        stored = memory if memory in WIDENED else ""
        return replace(node, tensor=name, index=index, stored=stored)

    return map_value(value, change)
