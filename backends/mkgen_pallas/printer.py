"""Pallas: whole blocks as jnp arrays on a TPU; masked loads on a GPU, by Triton's lowering."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

from mkgen.codegen.fold import fold
from mkgen.codegen.plan import LaunchPlan, LoopPlan, Plan
from mkgen.codegen.printer import ATOM, Scope, Text
from mkgen.codegen.python_printer import PythonPrinter
from mkgen.codegen.view import View
from mkgen.expression import Call, Expression, evaluate, names, to_python
from mkgen.ir.nest import WIDENED, Apply, IndexValue, Load, Value, index_names
from mkgen.program import Configuration, Functional, Step
from mkgen_pallas.layout import Layout
from mkgen_pallas.steps import launcher_steps

#: In a template, the line between the kernel and the lines that call it.
CALL = "# -- call --\n"


_ERF = '''

def erf(x):
    """erf to 1.4 ulp of float32: XLA's is good to 5.4, and Pallas has none for Triton.

    Near zero x + x p(x^2), else 1 - exp(-|x| q(|x|)); p and q are minimax fits of degree 5 and 6.
    """
    far = jnp.minimum(jnp.abs(x), 4.0)
    near = x * x
    p = -5.97689242567867e-04
    for factor in (
        4.99098002910614e-03, -2.67655663192272e-02, 1.12818025052547e-01,
        -3.76124948263168e-01, 1.28379151225090e-01,
    ):
        p = p * near + factor
    q = 1.18855741667536e-05
    for factor in (
        -3.29310394590721e-04, 3.66872898302972e-03, -2.38172039389610e-02,
        1.06300383806229e-01, 6.35113239288330e-01, 1.12865781784058e+00,
    ):
        q = q * far + factor
    tail = jnp.where(x < 0.0, -1.0, 1.0) * (1.0 - jnp.exp(-far * q))
    return jnp.where(jnp.isnan(x), x, jnp.where(jnp.abs(x) < 0.93, x + x * p, tail))
'''


def _traced_call(node: Call, inner: Callable[[Expression, int], str]) -> str | None:
    """min, max and select of positions: Python's own need numbers."""
    if all(n.isupper() for n in names(node)):
        return None
    args = [inner(a, 0) for a in node.args]
    if node.function in ("min", "max"):
        return reduce(lambda a, b: f"jnp.{node.function}imum({a}, {b})", args)
    if node.function == "select":
        return f"jnp.where({', '.join(args)})"
    return f"(1 - ({args[0]}))" if node.function == "not" else None


_HELPERS = {
    "product_of": '''

def product_of(block):
    """The product along the last axis, whose length is a power of two: Pallas has none."""
    while block.shape[-1] > 1:
        pairs = block.reshape(*block.shape[:-1], block.shape[-1] // 2, 2)
        second = jnp.arange(2) == 1
        right = jnp.sum(jnp.where(second, pairs, 0), axis=-1)
        block = jnp.sum(jnp.where(second, 0, pairs), axis=-1) * right
    return jnp.sum(block, axis=-1)
''',
    "rint": '''

def rint(x):
    """To the nearest integer, halves to the even one: Pallas has none for Triton."""
    low = jnp.floor(x)
    rest = x - low
    odd = low - 2.0 * jnp.floor(0.5 * low)
    return low + jnp.where(rest == 0.5, odd, jnp.where(rest > 0.5, 1.0, 0.0))
''',
    "expm1": '''

def expm1(x):
    """exp(x) - 1, near zero by tanh so that no digits cancel: Mosaic has none."""
    half = jnp.tanh(0.5 * jnp.clip(x, -1.0, 1.0))
    return jnp.where(jnp.abs(x) < 0.5, 2.0 * half / (1.0 - half), jnp.exp(x) - 1.0)
''',
    "erf": _ERF,
}


def _is_size(value: Value) -> bool:
    """Whether a floating value prints as a Python integer."""
    if not isinstance(value, IndexValue) or "float" not in value.dtype:
        return False
    return all(n.isupper() for n in names(value.expression))


class PallasPrinter(PythonPrinter):
    """Spellings of jnp. `gpu` chooses masked loads; a TPU kernel sees whole blocks."""

    language = "pallas"
    separator = "\n\n"
    infinity = "jnp.inf"
    calls = {
        "exp": "jnp.exp({0})", "log": "jnp.log({0})", "sqrt": "jnp.sqrt({0})",
        "rsqrt": "jax.lax.rsqrt({0})", "erf": "erf({0})", "tanh": "jnp.tanh({0})",
        "sigmoid": "(1.0 / (1.0 + jnp.exp(-({0}))))", "abs": "jnp.abs({0})",
        "floor": "jnp.floor({0})", "not": "~({0})",
        "maximum": "jnp.maximum({0}, {1})", "minimum": "jnp.minimum({0}, {1})",
        "pow": "jnp.power({0}, {1})", "sin": "jnp.sin({0})", "cos": "jnp.cos({0})",
        "log1p": "jnp.log1p({0})", "expm1": "jnp.expm1({0})", "ceil": "jnp.ceil({0})",
        "trunc": "jnp.trunc({0})", "round": "jnp.round({0})", "fmod": "jax.lax.rem({0}, {1})",
    }  # fmt: skip

    stacks = True

    def __init__(self, gpu: bool) -> None:
        self.gpu = gpu
        self.bind_loads = self.splits_axes = gpu
        self.tiles_last_axis = not gpu
        if gpu:
            self.calls = {**self.calls, "round": "rint({0})"}
        else:
            self.calls = {**self.calls, "expm1": "expm1({0})"}

    def load(self, load: Load, offset: Text, scope: Scope) -> Text:
        """On a GPU a masked read; on a TPU the block of the tensor."""
        wide = f".astype(jnp.{self.dtype(load.dtype)})" if load.stored else ""
        if not self.gpu:
            return Text(f"{load.tensor}[...]{wide}")
        axes = frozenset().union(*(index_names(i) for i in load.index), frozenset())
        masks = list(dict.fromkeys(scope.masks[a] for a in sorted(axes & set(scope.masks))))
        for bound in load.guard:
            code = self.index(bound.index)
            masks += [f"(0 <= {code})", f"({code} < {self.index(bound.extent)})"]
        if not masks:
            return Text(f"{load.tensor}[{offset.code}]{wide}")
        other = self.literal(load.other or 0, load.dtype).code
        mask = " & ".join(masks)
        return Text(
            f"plgpu.load({load.tensor}.at[{offset.code}], mask={mask}, other={other}){wide}"
        )

    def select(self, condition: Text, yes: Text, no: Text) -> Text:
        """`jnp.where`."""
        return Text(f"jnp.where({condition.code}, {yes.code}, {no.code})")

    def cast(self, value: Text, source: str, dtype: str) -> Text:
        """`.astype(…)`; 64-bit integers do not exist on a TPU."""
        return Text(f"{value.inside(ATOM)}.astype(jnp.{self.dtype(dtype)})")

    def store(self, tensor: str, dtype: str, offset: str, code: str, source: str) -> str:
        """A write of the block, or of the elements at an offset."""
        if dtype in WIDENED:
            code = f"({code}).astype(jnp.{dtype})"
        if not self.gpu:
            return f"{tensor}[...] = {code}"
        if offset.isdigit():  # interpret mode stores at traced positions only
            return f"{tensor}[{offset}] = {code}"
        return f"plgpu.store({tensor}.at[{offset}], {code})"

    def masked_store(self, code: str, masks: Sequence[str]) -> str:
        """The same under masks (GPU)."""
        kept = list(dict.fromkeys(masks))
        if not kept or not self.gpu or not code.startswith("plgpu.store("):
            return code
        mask = " & ".join(kept)
        if len(kept) > 1:
            # Beyond the end of one axis lie places of the next: interpret mode writes the old
            # value back there, over a new one. Nothing lies beyond the end of the array.
            tensor, rest = code.removeprefix("plgpu.store(").split(".at[", 1)
            offset, value = rest.split("], ", 1)
            place = f"jnp.where({mask}, {offset}, {tensor}.shape[0])"
            return f"plgpu.store({tensor}.at[{place}], {value[:-1]}, mask={mask})"
        return f"{code[:-1]}, mask={mask})"

    def dtype(self, dtype: str) -> str:
        """jnp's name; int64 narrows to int32, as JAX does by default."""
        return {"int64": "int32", "float64": "float32", "bool": "bool_"}.get(dtype, dtype)

    def preamble(self, body: str) -> str:
        """Imports."""
        lines = [
            "import jax",
            "import jax.numpy as jnp",
            "from jax.experimental import pallas as pl",
        ]
        if "pltpu." in body:
            lines.append("from jax.experimental.pallas import tpu as pltpu")
        if "plgpu." in body:
            lines.append("from jax.experimental.pallas import triton as plgpu")
        return "".join(f"{line}\n" for line in lines)

    def helpers(self, body: str) -> str:
        """`erf` where the lowering has none; jnp's max already lets NaN win."""
        made = (text for name, text in _HELPERS.items() if re.search(rf"(?<![.\w]){name}\(", body))
        return "".join(made) + "\n\n"

    def reduce(self, combine: str, dtype: str, value: str) -> str:
        """A block combined over its columns (TPU) or along its last axis (GPU)."""
        if combine == "prod" and self.gpu:
            return f"product_of({value})"
        axis = "" if self.gpu else ", axis=1, keepdims=True"
        return f"jnp.{combine}({value}{axis})"

    def combine(self, combine: str, dtype: str, a: str, b: str) -> str:
        """Two blocks combined."""
        if combine in ("max", "min"):
            return f"jnp.{combine}imum({a}, {b})"
        return f"{a} {'+' if combine == 'sum' else '*'} {b}"

    def start(self, combine: str, dtype: str) -> str:
        """What a reduction starts from."""
        if combine in ("sum", "prod"):
            return self.literal(0 if combine == "sum" else 1, dtype).code
        if "float" in dtype:
            return "-jnp.inf" if combine == "max" else "jnp.inf"
        return str(2**31 - 1 if combine == "min" else -(2**31))

    def index(self, expression: Expression) -> str:
        """An index expression whose names may be traced values: jnp's min, max and where."""
        return to_python(expression, _traced_call)

    def apply(self, value: Apply, args: list[Text]) -> Text:
        """One operation; a size given to a function is a float, because roots refuse integers."""
        if value.operation in self.calls:
            args = [
                Text(f"float({text.code})") if _is_size(arg) else text
                for arg, text in zip(value.args, args, strict=True)
            ]
        return super().apply(value, args)

    def context(self, view: View, index_bits: int) -> dict[str, Any]:
        """Adds `t`, and how buffers are laid out as blocks."""
        return {"t": self, "layout": Layout(view, self), "dtype_of": self.dtype}

    def finish(
        self, text: str, known: Mapping[str, int], plan: LaunchPlan
    ) -> tuple[str, LaunchPlan]:
        """Splits the kernel from the lines that call it."""
        kernel, _, call = text.partition(CALL)
        kernel = re.sub(r"\n+(?=def )", "\n\n\n", kernel.strip("\n"))
        kernel = re.sub(r"(^|\n)(def [^\n]*:\n)\n+", r"\1\2", kernel)
        return fold(kernel + "\n"), replace(plan, call=textwrap.dedent(call))

    def configuration(self, launch: LaunchPlan, values: Mapping[str, int]) -> Configuration:
        """The grid, for the record."""
        grid = [evaluate(e, values) for e in launch.grid][: launch.rank]
        return Functional(grid=tuple(grid))

    def launcher(self, plan: Plan) -> str:
        """A function of jax arrays."""
        body = "".join(
            _scan(plan, loop, launches) if loop else _calls(launches)
            for loop, launches in plan.parts()
        )
        text = (
            f"\n\n{self.signature(plan, 'jax.Array')}"
            f'    """{plan.title}"""\n'
            + self.check_inputs(plan, "jnp", "").replace("must be contiguous", "must be")
            + textwrap.indent(body, "    ")
            + f"    return {', '.join(b.name for b in (*plan.outputs, *plan.updated))}\n"
        )
        return fold(text)

    def steps(self, steps: tuple[Step, ...], plan: Plan, launcher: str) -> tuple[Step, ...]:
        """With the layout operations the launcher does."""
        return launcher_steps(launcher, steps)


def _calls(launches: Sequence[LaunchPlan]) -> str:
    return "".join(launch.call.rstrip("\n") + "\n" for launch in launches)


def _scan(plan: Plan, loop: LoopPlan, launches: Sequence[LaunchPlan]) -> str:
    """A loop: a round as a function of what is carried and of this round's slices."""
    carried, written = [a for a, _ in loop.swaps], [b for _, b in loop.swaps]
    name = f"round_of_{carried[-1]}"
    inside = [part for _, part in loop.stacks]
    unpacked = "".join(
        f"{', '.join(names)} = {whole}\n"
        for names, whole in ((carried, "carried"), (loop.span, "slices"))
        if len(names) > 1
    )
    body = unpacked + _calls(launches) + f"return {_group(written)}, {_group(inside)}\n"
    given = [
        names[0] if len(names) == 1 else whole
        for names, whole in ((carried, "carried"), (loop.span, "slices"))
    ]
    arrays = _group([array for array, _ in loop.stacks])
    back = ", reverse=True" if loop.reverse else ""
    text = (
        f"\ndef {name}({', '.join(given)}):\n{textwrap.indent(body, '    ')}\n"
        f"{_group(carried)}, {arrays} = jax.lax.scan("
        f"{name}, {_group(carried)}, {_group(loop.span)}, length={to_python(loop.count)}{back})\n"
    )
    dtypes = {b.name: b.dtype for b in (*plan.outputs, *plan.temporaries)}
    for array, part in loop.stacks:
        if dtypes[array] != dtypes[part]:
            text += f"{array} = {array}.astype(jnp.{dtypes[array]})\n"
    return text


def _group(names: Sequence[str]) -> str:
    """One name, or several as a tuple."""
    return names[0] if len(names) == 1 else f"({', '.join(names)})"
