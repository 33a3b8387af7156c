"""The operations of a reference at given sizes, seen on tensors without memory."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mkgen.task import Sizes, Task

#: Operations whose integer arguments are shapes and positions, which follow the sizes.
_SHAPED = frozenset(
    ["view", "reshape", "_unsafe_view", "expand", "repeat", "slice", "narrow", "select", "split",
     "chunk", "unflatten", "arange", "zeros", "ones", "full", "empty", "new_zeros", "new_ones",
     "new_full", "layer_norm", "rms_norm", "split_with_sizes", "tril", "triu", "roll",
     "eye", "one_hot", "as_strided", "broadcast_to", "unfold"]
)  # fmt: skip


#: Beginnings of the names of operations that are told the size of their result.
_SIZED = ("upsample", "adaptive", "constant_pad", "pad", "reflection_pad", "replication_pad")
#: Their numbers may come from a shape, as in `x / math.sqrt(width)`; the frontend finds out how.
_ARITHMETIC = frozenset(["add", "sub", "mul", "div"])


#: How much larger than what is given a tensor may be that is made on the way.
_MADE = 8


@dataclass(frozen=True)
class Traced:
    """What a reference does at one choice of sizes."""

    operations: tuple[str, ...]
    """Each with those arguments that the text of a kernel depends on."""
    names: tuple[str, ...]
    """The operations' names alone: `aten.conv2d.default`."""
    elements: int
    """Of the largest tensor that is given; of one that is made, an eighth (attention's scores)."""
    outputs: tuple[tuple[int, ...], ...]
    """Shapes of what is returned."""
    volume: int
    """Multiplications of its products and convolutions, else elements computed."""


def traced(task: Task, sizes: Sizes) -> Traced:
    """Traces `task` at `sizes`, on tensors without memory. Raises what the reference raises."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx

    with _quiet(), FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        call = task.module(sizes)
        inputs = [
            torch.empty(t.resolve(sizes), dtype=getattr(torch, t.dtype))
            for t in task.inputs.values()
        ]
        plain: Callable[..., Any] = lambda *tensors: call(*tensors)  # noqa: E731
        graph = make_fx(plain, pre_dispatch=True, tracing_mode="real")(*inputs)
    nodes = list(graph.graph.nodes)
    order = {node: i for i, node in enumerate(nodes)}
    calls = [n for n in nodes if n.op == "call_function"]
    given = [math.prod(v.shape) for n in nodes if n not in calls for v in _values(n)]
    made = [math.prod(v.shape) // _MADE for n in calls for v in _values(n)]
    return Traced(
        tuple(_signature(n, order) for n in calls),
        tuple(str(n.target) for n in calls),
        max([*given, *made], default=0),
        tuple(tuple(v.shape) for n in nodes[-1].all_input_nodes for v in _values(n)),
        sum(_volume(n) for n in calls),
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A shape that is refused is an answer here; PyTorch logs it as an error, with a traceback."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _values(node: Any) -> list[Any]:
    value = node.meta.get("val")
    if value is None:
        return []
    return [
        v for v in (value if isinstance(value, tuple | list) else (value,)) if hasattr(v, "shape")
    ]


def _signature(node: Any, order: Mapping[Any, int]) -> str:
    import torch

    name = str(node.target)
    word = name.split(".")[1] if name.startswith("aten.") else ""
    shaped = word in _SHAPED or word.startswith(_SIZED)

    def plain(argument: Any) -> Any:
        if isinstance(argument, torch.fx.Node):
            return f"%{order[argument]}"
        if isinstance(argument, list | tuple):
            return [plain(a) for a in argument]
        if shaped and type(argument) is int and argument > 1:
            return "#"
        if word in _ARITHMETIC and isinstance(argument, int | float):
            return "#"
        return argument

    return f"{name}({plain(node.args)}, {sorted((k, plain(v)) for k, v in node.kwargs.items())})"


def _volume(node: Any) -> int:
    values = _values(node)
    out = sum(math.prod(v.shape) for v in values)
    name = str(node.target).split(".")[1] if "." in str(node.target) else ""
    sources = [v for a in node.args if hasattr(a, "meta") for v in _values(a)]
    if name.startswith("conv") and len(sources) > 1:
        weight = sources[1].shape
        transposed = "transpose" in name
        return int(math.prod(sources[0].shape if transposed else values[0].shape)
                   * math.prod(weight[1:]))  # fmt: skip
    if name in ("linear", "matmul", "mm", "bmm", "addmm", "baddbmm") and sources:
        left = sources[1 if name in ("addmm", "baddbmm") else 0]
        return int(out * (left.shape[-1] if left.shape else 1))
    if name == "scaled_dot_product_attention" and len(sources) > 1:
        return int(2 * out * sources[1].shape[-2])
    if name in ("gru", "lstm", "rnn_tanh", "rnn_relu"):
        weights = [math.prod(v.shape) for a in node.args if isinstance(a, list | tuple)
                   for w in a if hasattr(w, "meta") for v in _values(w)]  # fmt: skip
        return int(sum(weights) * math.prod(sources[0].shape[:2]))
    return int(out)
