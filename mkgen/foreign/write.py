"""The text of a task around a user's reference, as its author would write it."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field

from mkgen.expression import names, parse
from mkgen.foreign.inputs import Drawn
from mkgen.reading import module_tree
from mkgen.task import Sizes


@dataclass(frozen=True)
class Argument:
    """One tensor that the reference is called with."""

    name: str
    shape: str
    drawn: Drawn
    low: str
    high: str

    @property
    def names(self) -> frozenset[str]:
        """The sizes that it is written in."""
        texts = [*self.shape.split(","), self.low, self.high]
        return frozenset().union(*(names(parse(t)) for t in texts if t.strip()), frozenset())


@dataclass(frozen=True)
class Written:
    """Everything that the text of a task says."""

    name: str
    target: str
    inputs: tuple[Argument, ...]
    numbers: dict[int, str]
    """Arguments that are no tensors, by position."""
    init: dict[str, str]
    sizes: Sizes
    is_class: bool
    source: str
    check: Sequence[Sizes] = field(default_factory=list)
    heldout: Sequence[Sizes] = field(default_factory=list)
    category: str = "math"


def task_text(written: Written) -> str:
    """The user's file with a `Task(...)` after it."""
    taken = {
        node.id for node in ast.walk(module_tree(written.source)) if isinstance(node, ast.Name)
    } | {
        alias.asname or alias.name
        for node in ast.walk(module_tree(written.source))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    prefix, line = "", "from mkgen.task import Task, Tensor"
    if taken & {"Task", "Tensor"}:  # the user's own must keep their meaning
        prefix, line = "mkgen.task.", "import mkgen.task"
    adapter, reference = _adapter(written)
    inputs = "".join(
        f'        "{a.name}": {prefix}{_tensor(a)},{_note(a)}\n' for a in written.inputs
    )
    init = "".join(f'        "{name}": {_init(text)},\n' for name, text in written.init.items())
    parts = [
        f'    name="{written.name}",\n    category="{written.category}",\n',
        f"    reference={reference},\n    inputs={{\n{inputs}    }},\n",
        f"    init={{\n{init}    }},\n" if init else "",
        f"    bench={_sizes(written.sizes)},\n",
        _workloads("check", written.check),
        _workloads("heldout", written.heldout),
    ]
    body = written.source.rstrip("\n") + "\n"
    return f"{body}{adapter}\n\n{line}\n\ntask = {prefix}Task(\n{''.join(parts)})\n"


def _sizes(sizes: Sizes) -> str:
    return "{" + ", ".join(f'"{n}": {v}' for n, v in sizes.items()) + "}"


def _workloads(role: str, sizes: Sequence[Sizes]) -> str:
    if not sizes:
        return f"    {role}=[],\n"
    return f"    {role}=[\n" + "".join(f"        {_sizes(s)},\n" for s in sizes) + "    ],\n"


def _tensor(argument: Argument) -> str:
    drawn = argument.drawn
    said = [f'"{argument.shape}"']
    if drawn.dtype != "float32":
        said.append(f'dtype="{drawn.dtype}"')
    if drawn.distribution != "normal":
        said.append(f'distribution="{drawn.distribution}"')
        for word, text, usual in (("low", argument.low, "0"), ("high", argument.high, "1")):
            if text != usual:
                said.append(f"{word}={_init(text)}")
    if drawn.scale != 1.0:
        said.append(f"scale={drawn.scale!r}")
    if drawn.shift != 0.0:
        said.append(f"shift={drawn.shift!r}")
    return f"Tensor({', '.join(said)})"


def _note(argument: Argument) -> str:
    return f"  # {argument.drawn.note}" if argument.drawn.note else ""


def _init(text: str) -> str:
    """A number as it is, everything else as the string that `Task` reads."""
    try:
        value = ast.literal_eval(text)
    except ValueError:
        return repr(text).replace("'", '"') if "'" not in text and '"' not in text else repr(text)
    return text if isinstance(value, int | float) or value is None else repr(text)


def _adapter(written: Written) -> tuple[str, str]:
    """What gives the numbers among the arguments, and the name of the reference."""
    if not written.numbers:
        return "", written.target
    count = len(written.inputs) + len(written.numbers)
    tensors = iter([a.name for a in written.inputs])
    taken = ", ".join(a.name for a in written.inputs)
    passed = ", ".join(written.numbers[i] if i in written.numbers else next(tensors)
                       for i in range(count))  # fmt: skip
    if not written.is_class:
        name = f"{written.target}_with_numbers"
        return f"\n\ndef {name}({taken}):\n    return {written.target}({passed})\n", name
    name = f"{written.target}WithNumbers"
    return (
        f"\n\nclass {name}({written.target}):\n    def forward(self, {taken}):\n"
        f"        return super().forward({passed})\n"
    ), name


def category_of(operations: Sequence[str]) -> str:
    """The category of a reference that calls these ATen operations."""
    words = {name.split(".")[1] for name in operations if name.startswith("aten.")}
    found = [category for category, marks in _MARKS.items() if words & marks]
    if "attention" in found or {"matmul", "softmax"} <= words and len(words) < 9:
        return "attention"
    heavy = [c for c in found if c in ("convolution", "matmul")]
    if len(operations) > 25:
        return "arch"
    if heavy and len(words) > 1:
        return "fuse" if words - _MARKS[heavy[0]] - _LAYOUT else heavy[0]
    return found[0] if found else "math"


_LAYOUT = frozenset(["view", "reshape", "t", "transpose", "permute", "unsqueeze", "squeeze"])
_MARKS = {
    "attention": frozenset(["scaled_dot_product_attention"]),
    "convolution": frozenset([f"conv{t}{n}d" for n in (1, 2, 3) for t in ("", "_transpose")]),
    "matmul": frozenset(["matmul", "mm", "bmm", "linear", "addmm", "baddbmm", "einsum"]),
    "normalization": frozenset(["layer_norm", "batch_norm", "group_norm", "instance_norm",
                                "rms_norm", "softmax", "log_softmax"]),
    "pooling": frozenset([f"{k}_pool{n}d" for n in (1, 2, 3)
                          for k in ("max", "avg", "adaptive_avg", "adaptive_max")]),
    "loss": frozenset(["mse_loss", "cross_entropy_loss", "nll_loss", "smooth_l1_loss", "kl_div"]),
    "resize": frozenset(["upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d"]),
    "index": frozenset(["embedding", "gather", "index_select", "scatter", "index_add", "index"]),
    "reduce": frozenset(["sum", "mean", "amax", "amin", "max", "min", "argmax", "argmin", "prod",
                         "var", "std", "logsumexp", "cumsum", "cumprod"]),
    "activation": frozenset(["relu", "gelu", "silu", "sigmoid", "tanh", "softplus", "elu",
                             "leaky_relu", "hardtanh", "hardswish", "hardsigmoid", "selu"]),
}  # fmt: skip
