"""What the Python dialects share: files whose sizes are module constants."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mkgen.codegen.fold import WIDTH
from mkgen.codegen.plan import DialectPrinter, Plan
from mkgen.codegen.printer import ATOM, COMPARE, PRODUCT, SUM, Text, number
from mkgen.expression import Expression, names, to_python
from mkgen.ir.nest import Apply, IndexValue
from mkgen.program import Buffer


class PythonPrinter(DialectPrinter):
    """Spellings shared by Triton and Pallas."""

    extension = ".py"
    infix = {
        "add": ("+", SUM), "sub": ("-", SUM), "mul": ("*", PRODUCT), "div": ("/", PRODUCT),
        "lt": ("<", COMPARE), "le": ("<=", COMPARE), "eq": ("==", COMPARE), "ne": ("!=", COMPARE),
        "and": ("&", SUM), "or": ("|", SUM),
    }  # fmt: skip
    infinity = 'float("inf")'
    bind_loads = True

    def literal(self, value: float | int | bool, dtype: str) -> Text:
        """`0.5`, `3`, `float("inf")`."""
        if dtype == "bool":
            return Text(str(bool(value)))
        if "float" not in dtype:
            return Text(str(int(value)))
        if math.isinf(value):
            return Text(self.infinity if value > 0 else f"-{self.infinity}")
        return Text(number(float(value)))

    def index(self, expression: Expression) -> str:
        """An index expression as Python."""
        return to_python(expression)

    def index_value(self, value: IndexValue) -> Text:
        """A size stays the Python number it is; a position is converted."""
        if all(n.isupper() for n in names(value.expression)):
            code = self.index(value.expression)
            return Text(code, ATOM if code.isidentifier() else SUM)
        return super().index_value(value)

    def apply(self, value: Apply, args: list[Text]) -> Text:
        """One operation over printed operands."""
        if value.operation == "isnan":  # the one call that is spelled as an operator
            operand = args[0].inside(SUM)
            return Text(f"{operand} != {operand}", COMPARE)
        return super().apply(value, args)

    def declare(self, name: str, dtype: str, code: str) -> str:
        """`mean = total / COLS`."""
        return f"{name} = {code}"

    def declare_index(self, name: str, code: str) -> str:
        """`h = p * STRIDE_H + r`."""
        return f"{name} = {code}"

    def assign(self, target: str, code: str) -> str:
        """`weight = …`."""
        return f"{target} = {code}"

    def comment(self, lines: Sequence[str]) -> str:
        """A licence line and the module's docstring."""
        first, rest = lines[0], "\n".join(lines[1:])
        return (
            f'# SPDX-License-Identifier: Apache-2.0\n"""{first}\n'
            + (f"\n{rest}\n" if rest else "")
            + '"""\n'
        )

    def sizes(self, constants: Mapping[str, int], index_bits: int) -> str:
        """`ROWS, COLS = 4096, 1000`."""
        return "\n# Sizes. Everything below follows from them.\n" + self.constants(constants)

    def parameters(self, groups: Sequence[Mapping[str, int]]) -> str:
        """The constants of the variant."""
        lines = "".join(self.constants(group) for group in groups)
        return f"# Parameters of this variant.\n{lines}" if groups else ""

    @staticmethod
    def constants(constants: Mapping[str, int]) -> str:
        """Module constants, as many on a line as read well."""
        lines, group = [], list(constants.items())
        while group:
            count = 6
            while len(line := _assignment(group[:count])) > WIDTH and count > 1:
                count -= 1
            lines.append(line)
            group = group[count:]
        return "".join(f"{line}\n" for line in lines)

    def launcher_name(self, task: str, dtype: str) -> str:
        """The task's own name."""
        return task

    def shape(self, plan: Plan, buffer: Buffer) -> str:
        """`(ROWS, COLS)`."""
        dims = [self.index(d) for d in plan.shapes[buffer.name]]
        return f"({dims[0]},)" if len(dims) == 1 else f"({', '.join(dims)})"

    def signature(self, plan: Plan, tensor: str) -> str:
        """`def softmax(x: torch.Tensor) -> torch.Tensor:`."""
        inputs = ", ".join(f"{b.name}: {tensor}" for b in plan.inputs)
        result = tensor
        if len(plan.outputs) > 1:
            result = f"tuple[{', '.join([tensor] * len(plan.outputs))}]"
        return f"def {plan.launcher}({inputs}) -> {result}:\n"

    def check_inputs(self, plan: Plan, module: str, contiguous: str) -> str:
        """Lines that refuse a shape or dtype the file was not made for."""
        rows = "".join(
            f'        ("{b.name}", {b.name}, {self.shape(plan, b)}, '
            f"{module}.{self.dtype(b.dtype)}),\n"
            for b in plan.inputs
        )
        return (
            f"    expected = (\n{rows}    )\n"
            "    for name, array, shape, dtype in expected:\n"
            f"        if tuple(array.shape) != shape or array.dtype != dtype{contiguous}:\n"
            '            got = f"{array.dtype} {tuple(array.shape)}"\n'
            '            raise ValueError(f"{name} must be contiguous {dtype} {shape}, '
            'got {got}")\n'
        )

    def dtype(self, dtype: str) -> str:
        """The framework's name of a dtype."""
        return dtype


def _assignment(group: Sequence[tuple[str, int]]) -> str:
    """`ROWS, COLS = 4096, 1000`."""
    return f"{', '.join(k for k, _ in group)} = {', '.join(str(v) for _, v in group)}"
