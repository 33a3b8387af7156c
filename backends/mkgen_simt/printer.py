"""The C family's printer: one body, four keyword tables (CUDA, HIP, OpenCL, SYCL)."""

from __future__ import annotations

import math
import re
import textwrap
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mkgen.codegen.fold_c import fold_c
from mkgen.codegen.plan import DialectPrinter, LaunchPlan, LoopPlan
from mkgen.codegen.printer import COMPARE, PRODUCT, SELECT, UNARY, Scope, Text, number
from mkgen.codegen.render import SHORT
from mkgen.codegen.view import Argument, View
from mkgen.errors import UnsupportedError
from mkgen.expression import Expression, Int, Name, evaluate, to_c
from mkgen.ir.nest import Apply, Load
from mkgen.program import Configuration, Simt

#: Width that leaves room for ` {` after the head of a kernel.
BESIDE_BRACE = 98

#: How a combine is written; `maximum` and `minimum` are helpers that let NaN win, as in PyTorch.
COMBINE = {
    "sum": "{0} + {1}",
    "prod": "{0} * {1}",
    "max": "maximum({0}, {1})",
    "min": "minimum({0}, {1})",
}


class CPrinter(DialectPrinter):
    """Spellings shared by the four; what differs is class data below."""

    def __init__(self, sub_group: int) -> None:
        self.sub_group = sub_group
        """Lanes of the arch."""
        self.index_type = "int"

    types: Mapping[str, str]
    reads: Mapping[str, str] = {}
    """16-bit dtype -> format of a load as float, {0} tensor, {1} offset; empty: it has none."""
    writes: Mapping[str, str] = {}
    """16-bit dtype -> format of a store of a float, {0} tensor, {1} offset, {2} value."""
    device_function: str
    """Before a helper function: `__device__ `."""
    shared_pointer: str
    """Before a pointer to shared memory: `__local `."""
    barrier: str
    thread: str
    """Position of the thread in its block."""
    unroll: str
    """Before a loop over values in registers, which needs every index known."""
    unroll_steps: str
    """Before the steps of a tile of a product, each of which is dozens of statements already."""
    infinity: str
    conversions: Mapping[str, str] = {}
    """Function -> its text: between a float and what `types` holds of a 16-bit dtype, as bits."""
    shuffle: str = ""
    """Format of an exchange between lanes, {0} value, {1} lane mask; empty when there is none."""

    # -- values ---------------------------------------------------------------------------------

    def literal(self, value: float | int | bool, dtype: str) -> Text:
        """`0.5f`, `3`, `INFINITY`."""
        if dtype == "bool":
            return Text("true" if value else "false")
        if "float" not in dtype:
            return Text(str(int(value)))
        if math.isinf(value):
            return Text(self.infinity) if value > 0 else Text(f"-{self.infinity}", UNARY)
        suffix = "" if dtype == "float64" else "f"
        text = Text(f"{number(float(value))}{suffix}")
        return text if value >= 0 else Text(text.code, UNARY)

    def index(self, expression: Expression) -> str:
        """An index expression as C."""
        return to_c(expression)

    def load(self, load: Load, offset: Text, scope: Scope) -> Text:
        """`x[i]`, or a guarded read: `inside ? x[i] : 0.0f`."""
        code = self.read(load.stored, load.tensor, offset.code)
        if not load.guard:
            return Text(code)
        tests = [
            f"{self.index(b.index)} == 0" if b.extent == Int(1) else
            f"0 <= {self.index(b.index)} && {self.index(b.index)} < {self.index(b.extent)}"
            for b in load.guard
        ]  # fmt: skip
        condition = " && ".join(tests)
        known = scope.indices.get(Name(condition))
        if known is None:
            known = scope.indices[Name(condition)] = scope.fresh("inside")
            scope.lines.append(f"const bool {known} = {condition};")
        other = self.literal(load.other or 0.0, load.dtype)
        return Text(f"{known} ? {code} : {other.code}", SELECT)

    def select(self, condition: Text, yes: Text, no: Text) -> Text:
        """A conditional expression."""
        return Text(
            f"{condition.inside(SELECT + 1)} ? {yes.inside(SELECT + 1)} : {no.inside(SELECT)}",
            SELECT,
        )

    def apply(self, value: Apply, args: list[Text]) -> Text:
        """One operation over printed operands."""
        if value.operation in ("maximum", "minimum") and "float" not in value.dtype:
            # the helper is for float: an integer of more than 24 bits would lose its last ones
            sign = ">" if value.operation == "maximum" else "<"
            a, b = (arg.inside(COMPARE + 1) for arg in args)
            return Text(f"{a} {sign} {b} ? {a} : {b}", SELECT)
        if value.operation == "sigmoid":
            power = self.calls["exp"].format(_negative(args[0]))
            return Text(f"1.0f / (1.0f + {power})", PRODUCT)
        return super().apply(value, args)

    def cast(self, value: Text, source: str, dtype: str) -> Text:
        """A conversion, left to the language where it is implicit and exact."""
        return Text(f"({self.types[dtype]}){value.inside(UNARY)}", UNARY)

    def declare(self, name: str, dtype: str, code: str) -> str:
        """`const float mean = total / COLS;`."""
        return f"const {self.types[dtype]} {name} = {code};"

    def declare_index(self, name: str, code: str) -> str:
        """`const int h = p * STRIDE_H + r;`."""
        return f"const {self.index_type} {name} = {code};"

    def assign(self, target: str, code: str) -> str:
        """`x_value[item] = x[i];`."""
        return f"{target} = {code};"

    def store(self, tensor: str, dtype: str, offset: str, code: str, source: str) -> str:
        """`y[i] = value;`, rounded where memory is narrower than what is computed in."""
        return self.writes.get(dtype, "{0}[{1}] = {2};").format(tensor, offset, code)

    def read(self, stored: str, tensor: str, offset: str) -> str:
        """`x[i]`, widened where memory is narrower than what is computed in."""
        return self.reads.get(stored, "{0}[{1}]").format(tensor, offset)

    def finish(
        self, text: str, known: Mapping[str, int], plan: LaunchPlan
    ) -> tuple[str, LaunchPlan]:
        """The kernel without lines that are too long."""
        return fold_c(text), plan

    # -- files ----------------------------------------------------------------------------------

    def comment(self, lines: Sequence[str]) -> str:
        """A head comment in line comments."""
        return "".join(f"// {line}\n" for line in ("SPDX-License-Identifier: Apache-2.0", *lines))

    def sizes(self, constants: Mapping[str, int], index_bits: int) -> str:
        """`constexpr int ROWS = 4096, COLS = 1000;`, wrapped."""
        self.index_type = self.types["int32" if index_bits == 32 else "int64"]
        return "\n// Sizes. Everything below follows from them.\n" + self.constants(
            constants, self.index_type
        )

    def parameters(self, groups: Sequence[Mapping[str, int]]) -> str:
        """The constants of the variant."""
        if not groups:
            return "\n"
        lines = "".join(self.constants(group, "int") for group in groups)
        return f"// Parameters of this variant.\n{lines}\n"

    def constants(self, constants: Mapping[str, int], ctype: str) -> str:
        """Named compile-time constants, as many on a line as fit."""
        lines, line = [], ""
        for name, value in constants.items():
            piece = f"{name} = {value}"
            if line and len(line) + len(piece) > 90:
                lines.append(line)
                line = ""
            line += f", {piece}" if line else f"constexpr {ctype} {piece}"
        return "".join(f"{text};\n" for text in [*lines, line] if text)

    def helpers(self, body: str) -> str:
        """Those of `conversions` that are called, then `maximum` and `minimum`."""
        made = [text for name, text in self.conversions.items() if f"{name}(" in body]
        made += [
            f"// The {word} of two; NaN wins, as in PyTorch.\n"
            f"{self.device_function}float {name}(float a, float b) "
            f"{{ return b {sign} a || b != b ? b : a; }}\n\n"
            for name, sign, word in (("maximum", ">", "larger"), ("minimum", "<", "smaller"))
            if re.search(rf"\b{name}\(", body)
        ]
        return "".join(made)

    def combine(self, combine: str, dtype: str, a: str, b: str) -> str:
        """`a` combined with `b`."""
        if "float" not in dtype and combine in ("max", "min"):
            sign = ">" if combine == "max" else "<"
            return f"{b} {sign} {a} ? {b} : {a}"
        return COMBINE[combine].format(a, b)

    def accumulate(self, combine: str, dtype: str, name: str, value: str) -> str:
        """The statement that combines `value` into `name`."""
        if combine == "sum":
            return f"{name} += {value};"
        if "float" not in dtype and combine in ("max", "min"):
            return f"{self.declare('candidate', dtype, value)}\n{name} = " + (
                self.combine(combine, dtype, name, "candidate") + ";"
            )
        return f"{name} = {self.combine(combine, dtype, name, value)};"

    def workgroup_name(self, combine: str, dtype: str, lanes: bool = False) -> str:
        """`workgroup_sum`, `workgroup_min_int32`; `lanes`: the one that exchanges between lanes,
        where a file may have both."""
        kind = "" if dtype == "float32" else f"_{dtype}"
        return f"workgroup_{combine}{kind}{'_by_lanes' if lanes else ''}"

    def scan_name(self, combine: str, dtype: str, lanes: bool = False) -> str:
        """`scan_sum`, `scan_max_int32`, with lanes as `workgroup_name`."""
        kind = "" if dtype == "float32" else f"_{dtype}"
        return f"scan_{combine}{kind}{'_by_lanes' if lanes else ''}"

    def scratch_name(self, dtype: str) -> str:
        """The shared array through which values of `dtype` are combined."""
        return "scratch" if dtype == "float32" else f"scratch_{dtype}"

    def group_call(self, combine: str, dtype: str, value: str, group: bool) -> str:
        """The language's own work-group reduction, or nothing."""
        return ""

    def workgroup_call(
        self,
        combine: str,
        dtype: str,
        value: str,
        group: bool,
        lanes: bool = False,
        threads: str = "",
    ) -> str:
        """`value` combined over the work-group; `threads` says of how many, where kernels share
        the function."""
        own = self.group_call(combine, dtype, value, group)
        name = self.workgroup_name(combine, dtype, lanes and threads != "")
        given = [value, self.scratch_name(dtype), *([threads] if threads else [])]
        return own or f"{name}({', '.join(given)})"

    def define(self, name: str, code: str) -> str:
        """A constant that follows from others."""
        return f"constexpr int {name} = {code};"

    def start(self, combine: str, dtype: str) -> str:
        """What a reduction starts from."""
        if combine in ("sum", "prod"):
            return self.literal(0 if combine == "sum" else 1, dtype).code
        if "float" in dtype:
            return self.literal(-math.inf if combine == "max" else math.inf, dtype).code
        bits = 63 if dtype == "int64" else 31
        highest = 2**bits - 1
        if combine == "min":
            return str(highest)
        return f"-{highest} - 1"

    def parameter(self, argument: Argument) -> str:
        """One pointer parameter."""
        const = "" if argument.output else "const "
        return f"{const}{self.types[argument.dtype]}* __restrict__ {argument.name}"

    @abstractmethod
    def kernel(self, entry: str, arguments: Sequence[Argument], threads: str, rank: int) -> str:
        """The head of a kernel up to its opening brace."""

    def prologue(self, rank: int, arguments: Sequence[Argument] = ()) -> str:
        """First lines of a kernel, indented."""
        return ""

    def shared(self, dtype: str, name: str, dimensions: str) -> str:
        """Declares an array in shared memory: `__shared__ float tile[16][64];`."""
        raise UnsupportedError(f"{self.language} has no memory that a work-group shares")

    def group(self, axis: int, rank: int) -> str:
        """Position of the work-group along an axis (x is 0) in a kernel of `rank` axes."""
        raise UnsupportedError(f"{self.language} has no work-groups")

    def block(self, axis: int, bits: int, rank: int = 1) -> str:
        """`group`, wide enough to multiply."""
        code = self.group(axis, rank)
        return code if bits == 32 else f"({self.types['int64']}){code}"

    def context(self, view: View, index_bits: int) -> dict[str, Any]:
        """Adds `t` (this printer) and the index type."""
        self.index_type = self.types["int32" if index_bits == 32 else "int64"]
        return {"t": self, "index": self.index_type}

    def configuration(self, launch: LaunchPlan, values: Mapping[str, int]) -> Configuration:
        """A SIMT launch."""
        x, y, z = (evaluate(e, values) for e in launch.grid)
        a, b, c = (evaluate(e, values) for e in launch.block)
        return Simt(
            grid=(x, y, z),
            block=(a, b, c),
            dynamic_shared=evaluate(launch.dynamic_shared, values),
        )

    def launcher_name(self, task: str, dtype: str) -> str:
        """`conv2d_f32`."""
        return f"{task}_{SHORT[dtype]}"

    @staticmethod
    def place(loop: LoopPlan | None, name: str) -> str:
        """A launch argument: the buffer, or its slice of this round."""
        if loop is None or name not in loop.slices:
            return name
        size = to_c(loop.slices[name])
        size = size if size.isidentifier() or size.isdigit() else f"({size})"
        return f"{name} + {loop.variable} * {size}"

    def rounds(self, loop: LoopPlan, body: str, pointer: Callable[[str], str]) -> str:
        """The loop around the launches of a round; `pointer` declares one: `float* before`."""
        t, count = loop.variable, to_c(loop.count)
        ahead = f"int {t} = 0; {t} < {count}; ++{t}"
        back = f"int {t} = {count} - 1; {t} >= 0; --{t}"
        swaps = "".join(
            f"{pointer(read)} = {read};\n{read} = {written};\n{written} = {read}_before;\n"
            for read, written in loop.swaps
        )
        note = "// What this round wrote is what the next one reads.\n"
        body += textwrap.indent(note + swaps, "  ")
        inner = textwrap.indent(body, "  ")
        return f"  for ({back if loop.reverse else ahead}) {{\n{inner}  }}\n"

    @staticmethod
    def extent3(expressions: Sequence[Expression]) -> str:
        """`ROWS` or `a, b, c` with trailing ones left out, as arguments of dim3."""
        kept = list(expressions)
        while len(kept) > 1 and kept[-1] == Int(1):
            kept.pop()
        return ", ".join(to_c(e) for e in kept)


def _negative(value: Text) -> str:
    """`-x`, and `-(-x)`: two signs in a row would be a decrement."""
    code = value.inside(UNARY)
    return f"-({code})" if code.startswith("-") else f"-{code}"


def wrap(head: str, items: Sequence[str], tail: str, width: int = 100) -> str:
    """`head` + comma-separated `items` + `tail`, broken into lines aligned after `head`."""
    lines = [head]
    for position, item in enumerate(items):
        piece = item + ("," if position < len(items) - 1 else "")
        ending = len(tail.rstrip()) if position == len(items) - 1 else 0
        space = " " if position and lines[-1].strip() != "" and lines[-1] != head else ""
        if position and len(lines[-1]) + len(space + piece) + ending > width:
            lines.append(" " * len(head))
            space = ""
        lines[-1] += space + piece
    return "\n".join(lines) + tail
