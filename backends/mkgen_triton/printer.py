"""Triton: blocks of values, loads under masks."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from mkgen.codegen.fold import fold
from mkgen.codegen.plan import LaunchPlan, LoopPlan, Plan
from mkgen.codegen.printer import ATOM, Scope, Text
from mkgen.codegen.python_printer import PythonPrinter
from mkgen.codegen.view import View
from mkgen.expression import Call, Expression, Int, Name, evaluate, names, to_python
from mkgen.ir.nest import Apply, IndexValue, Load, Value, index_names
from mkgen.program import Configuration, TritonLaunch

_MAXIMUM = '''

@triton.jit
def row_max(value):
    """The largest value; NaN wins, as in PyTorch."""
    return tl.max(value, axis=0) + tl.sum(tl.where(value != value, value, 0.0), axis=0)
'''
_LARGER = '''

@triton.jit
def larger(a, b):
    """The larger of two; NaN wins, as in PyTorch."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)
'''
_HELPERS = {
    "row_max": _MAXIMUM,
    "row_min": _MAXIMUM.replace("max", "min").replace("largest", "smallest"),
    "multiply": '''

@triton.jit
def multiply(a, b):
    """The product of two."""
    return a * b
''',
    "larger": _LARGER,
    "smaller": _LARGER.replace("max", "min").replace("larger", "smaller"),
    "power": '''

@triton.jit
def power(base, exponent):
    """base ** exponent as C has it: of a negative base for whole exponents only."""
    size = tl.exp2(exponent * tl.log2(tl.abs(base)))
    whole = tl.floor(exponent) == exponent
    odd = whole & (2.0 * tl.floor(exponent * 0.5) != exponent)
    signed = tl.where(odd, -size, size)
    negative = tl.where(whole, signed, float("nan"))
    result = tl.where(base < 0.0, negative, size)
    return tl.where((exponent == 0.0) | (base == 1.0), 1.0, result)
''',
    "log1p": '''

@triton.jit
def log1p(x):
    """log(1 + x) without losing a small x (Kahan's correction of the rounded sum)."""
    total = 1.0 + x
    near = tl.where(total == 1.0, 1.0, total - 1.0)
    corrected = tl.log(total) * (x / near)
    return tl.where(total == 1.0, x, tl.where(total == float("inf"), total, corrected))
''',
    "expm1": '''

@triton.jit
def expm1(x):
    """exp(x) - 1 without losing a small x: a series near 0, where the difference cancels."""
    series = 1.0 / 40320.0
    series = series * x + 1.0 / 5040.0
    series = series * x + 1.0 / 720.0
    series = series * x + 1.0 / 120.0
    series = series * x + 1.0 / 24.0
    series = series * x + 1.0 / 6.0
    series = series * x + 0.5
    series = (series * x + 1.0) * x
    return tl.where(tl.abs(x) < 0.5, series, tl.exp(x) - 1.0)
''',
    "tanh": '''

@triton.jit
def tanh(x):
    """tanh(x) to 1.7 ulp of float32: a minimax polynomial near 0, where the quotient cancels."""
    quotient = 1.0 - 2.0 / (tl.exp(2.0 * tl.abs(x)) + 1.0)
    far = tl.where(x < 0.0, -quotient, quotient)
    square = x * x
    series = -0.005926038138568401 * square + 0.02084830403327942
    series = series * square - 0.05380784347653389
    series = series * square + 0.13332313299179077
    series = series * square - 0.33333316445350647
    near = x + x * (square * series)
    limit: tl.constexpr = 0.0 if x.dtype == tl.float64 else 0.625  # its digits are float32's
    return tl.where(tl.abs(x) < limit, near, far)
''',
    "unsplittable": '''

@triton.jit
def unsplittable(value):
    """1 where three bfloat16 cannot add up to `value`: one would overflow, or the last vanish."""
    size = tl.abs(value)
    return ((size > 3.38e38) | ((size < 1e-30) & (size != 0.0))).to(tl.int32)
''',
    "truncated": '''

@triton.jit
def truncated(x):
    """The whole part, towards zero."""
    return tl.where(x < 0.0, tl.ceil(x), tl.floor(x))
''',
    "rounded": '''

@triton.jit
def rounded(x):
    """The nearest whole number, ties to even."""
    below = tl.floor(x)
    rest = x - below
    odd = 2.0 * tl.floor(below * 0.5) != below
    return tl.where((rest > 0.5) | ((rest == 0.5) & odd), below + 1.0, below)
''',
}


class TritonPrinter(PythonPrinter):
    """Spellings of Triton."""

    def __init__(self, splits: bool) -> None:
        self.splits = splits
        """See DialectPrinter.splits: as measured, on NVIDIA GPUs."""

    language = "triton"
    separator = "\n\n"
    calls = {
        "exp": "tl.exp({0})", "log": "tl.log({0})", "sqrt": "tl.sqrt({0})",
        "rsqrt": "tl.rsqrt({0})", "erf": "tl.erf({0})", "sigmoid": "tl.sigmoid({0})",
        "tanh": "tanh({0})", "abs": "tl.abs({0})",
        "floor": "tl.floor({0})", "not": "~({0})",
        "maximum": "tl.maximum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)",
        "minimum": "tl.minimum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)",
        "pow": "power({0}, {1})", "sin": "tl.sin({0})", "cos": "tl.cos({0})",
        "log1p": "log1p({0})", "expm1": "expm1({0})", "ceil": "tl.ceil({0})",
        "trunc": "truncated({0})", "round": "rounded({0})", "fmod": "(({0}) % ({1}))",
    }  # fmt: skip

    def load(self, load: Load, offset: Text, scope: Scope) -> Text:
        """`tl.load(x + i, mask=inside, other=0.0)`."""
        axes = frozenset().union(*(index_names(i) for i in load.index), frozenset())
        masks = list(dict.fromkeys(scope.masks[a] for a in sorted(axes & set(scope.masks))))
        for bound in load.guard:
            code = self.index(bound.index)
            if bound.extent == Int(1):
                masks.append(f"({code} == 0)")
            else:
                masks += [f"(0 <= {code})", f"({code} < {self.index(bound.extent)})"]
        pointer = load.tensor if offset.code == "0" else f"{load.tensor} + {offset.code}"
        wide = f".to(tl.{load.dtype})" if load.stored else ""
        if not masks:
            return Text(f"tl.load({pointer}){wide}")
        other = self.literal(load.other or 0, load.dtype).code
        return Text(f"tl.load({pointer}, mask={' & '.join(masks)}, other={other}){wide}")

    def select(self, condition: Text, yes: Text, no: Text) -> Text:
        """`tl.where`."""
        return Text(f"tl.where({condition.code}, {yes.code}, {no.code})")

    def apply(self, value: Apply, args: list[Text]) -> Text:
        """One operation; a function of a size takes it as a value, which a constexpr is not."""
        if value.operation in self.calls and all(_is_size(a) for a in value.args):
            args = [
                Text(f"tl.full((), {a.code}, tl.{v.dtype})")
                for v, a in zip(value.args, args, strict=True)
            ]
        if value.operation in ("maximum", "minimum") and "float" not in value.dtype:
            return Text(f"tl.{value.operation}({args[0].code}, {args[1].code})")
        return super().apply(value, args)

    def cast(self, value: Text, source: str, dtype: str) -> Text:
        """`.to(tl.int64)`."""
        return Text(f"{value.inside(ATOM)}.to(tl.{dtype if dtype != 'bool' else 'int1'})")

    def store(self, tensor: str, dtype: str, offset: str, code: str, source: str) -> str:
        """`tl.store(y + i, value)`."""
        pointer = tensor if offset == "0" else f"{tensor} + {offset}"
        return f"tl.store({pointer}, {code})"

    def masked_store(self, code: str, masks: Sequence[str]) -> str:
        """The same under masks."""
        kept = list(dict.fromkeys(masks))
        return f"{code[:-1]}, mask={' & '.join(kept)})" if kept else code

    def preamble(self, body: str) -> str:
        """Imports."""
        return "import torch\nimport triton\nimport triton.language as tl\n"

    def helpers(self, body: str) -> str:
        """Functions that Triton's language lacks, and row reductions that let NaN win."""
        return "".join(t for w, t in _HELPERS.items() if re.search(rf"\b{w}[(),]", body)) + "\n\n"

    def reduce(self, combine: str, dtype: str, value: str) -> str:
        """A block combined to one value."""
        if combine in ("max", "min") and "float" in dtype:
            return f"row_{combine}({value})"
        if combine == "prod":
            return f"tl.reduce({value}, 0, multiply)"
        return f"tl.{combine}({value}, axis=0)"

    def scan(self, combine: str, dtype: str, value: str) -> str:
        """The running combination of a block."""
        if combine in ("sum", "prod"):
            return f"tl.cum{combine}({value}, axis=0)"
        return f"tl.associative_scan({value}, 0, {'larger' if combine == 'max' else 'smaller'})"

    def combine(self, combine: str, dtype: str, a: str, b: str) -> str:
        """Two blocks combined."""
        if combine in ("max", "min"):
            word = "maximum" if combine == "max" else "minimum"
            return self.calls[word].format(a, b) if "float" in dtype else f"tl.{word}({a}, {b})"
        return f"{a} {'+' if combine == 'sum' else '*'} {b}"

    def start(self, combine: str, dtype: str) -> str:
        """What a reduction starts from."""
        if combine in ("sum", "prod"):
            return self.literal(0 if combine == "sum" else 1, dtype).code
        if "float" in dtype:
            return self.literal(float("-inf" if combine == "max" else "inf"), dtype).code
        highest = 2 ** (63 if dtype == "int64" else 31) - 1
        return str(highest if combine == "min" else -highest - 1)

    def context(self, view: View, index_bits: int) -> dict[str, Any]:
        """Adds `t`, and how a program id becomes wide enough."""
        return {"t": self, "wide": "" if index_bits == 32 else ".to(tl.int64)"}

    def finish(
        self, text: str, known: Mapping[str, int], plan: LaunchPlan
    ) -> tuple[str, LaunchPlan]:
        """Puts every size and parameter the kernel names into its signature."""
        from dataclasses import replace

        body = text.split("CONSTEXPRS", 1)[1]
        used = [n for n in known if re.search(rf"\b{n}\b", body)]
        signature = ", ".join(f"{n}: tl.constexpr" for n in used)
        made = replace(plan, constexprs={n: Name(n) for n in used})
        return fold(_wrap_signature(text.replace("CONSTEXPRS", signature))), made

    def configuration(self, launch: LaunchPlan, values: Mapping[str, int]) -> Configuration:
        """A Triton launch."""
        x, y, z = (evaluate(e, values) for e in launch.grid)
        return TritonLaunch(
            grid=(x, y, z),
            constexprs={k: evaluate(e, values) for k, e in launch.constexprs.items()},
            warps=evaluate(launch.warps, values),
            stages=evaluate(launch.stages, values),
        )

    def launcher(self, plan: Plan) -> str:
        """A function of torch tensors."""
        lines = [
            f"\n\n{self.signature(plan, 'torch.Tensor')}",
            f'    """{plan.title}"""\n',
            self.check_inputs(plan, "torch", " or not array.is_contiguous()"),
        ]
        for buffer in (*plan.outputs, *plan.temporaries):
            shape = self.shape(plan, buffer)
            device = f"device={plan.inputs[0].name}.device"
            lines.append(
                f"    {buffer.name} = torch.empty({shape}, dtype=torch.{buffer.dtype}, {device})\n"
            )
        # an input may be called grid itself
        name = "blocks" if "grid" in plan.shapes else "grid"
        for loop, launches in plan.parts():
            text = "".join(_launch(loop, launch, name) for launch in launches)
            lines.append(_rounds(loop, text) if loop else text)
        lines.append(f"    return {', '.join(b.name for b in plan.outputs)}\n")
        return fold("".join(lines))


def _launch(loop: LoopPlan | None, launch: LaunchPlan, name: str) -> str:
    """One launch over the grid called `name`; in a loop, of this round's slices."""
    grid = [_blocks(e) for e in launch.grid]
    while len(grid) > 1 and grid[-1] == "1":
        grid.pop()
    shape = f"({grid[0]},)" if len(grid) == 1 else f"({', '.join(grid)})"
    given = [f"{a}[{loop.variable}]" if loop and a in loop.slices else a for a in launch.arguments]
    constants = [f"{k}={to_python(e)}" if launch.named else k for k, e in launch.constexprs.items()]
    arguments = textwrap.fill(
        ", ".join((*given, *constants)) + ",", 96 if loop is None else 92,
        initial_indent=" " * 8, subsequent_indent=" " * 8, break_on_hyphens=False,
    )  # fmt: skip
    options = f"num_warps={to_python(launch.warps)}, num_stages={to_python(launch.stages)}"
    return (
        f"    {name} = {shape}\n    {launch.entry}[{name}](\n"
        f"{arguments}\n        {options},\n    )\n"
    )


def _rounds(loop: LoopPlan, body: str) -> str:
    """A loop over time; what a round wrote is what the next one reads."""
    count = to_python(loop.count)
    points = f"reversed(range({count}))" if loop.reverse else f"range({count})"
    swaps = "".join(f"    {a}, {b} = {b}, {a}\n" for a, b in loop.swaps)
    return f"    for {loop.variable} in {points}:\n" + textwrap.indent(body + swaps, "    ")


def _is_size(value: Value) -> bool:
    """Whether `value` is one number for the whole kernel, known when it is compiled."""
    return isinstance(value, IndexValue) and all(n.isupper() for n in names(value.expression))


def _blocks(extent: Expression) -> str:
    """A grid axis as a launcher writes it: `triton.cdiv(COLS, BLOCK)`."""
    if isinstance(extent, Call) and extent.function == "ceil_div":
        return f"triton.cdiv({to_python(extent.args[0])}, {to_python(extent.args[1])})"
    return to_python(extent)


def _wrap_signature(text: str) -> str:
    """Breaks a `def` line of over 100 columns after its commas."""

    def wrap(match: re.Match[str]) -> str:
        if len(match.group(0)) <= 100:
            return match.group(0)
        items, lines = match.group(2).split(", "), ["   "]
        for item in items:
            if len(lines[-1]) + len(item) > 96:
                lines.append("   ")
            lines[-1] += f" {item},"
        return f"def {match.group(1)}(\n" + "\n".join(lines) + "\n):"

    return re.sub(r"def (\w+)\(([^)\n]*)\):", wrap, text)
