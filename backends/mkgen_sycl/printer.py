"""SYCL 2020 with oneAPI's free-function kernels: the keyword table."""

from __future__ import annotations

from collections.abc import Sequence

from mkgen.codegen.fold_c import fold_c
from mkgen.codegen.plan import LaunchPlan, Plan
from mkgen.codegen.view import Argument
from mkgen.expression import Expression, Int, to_c
from mkgen_simt.printer import BESIDE_BRACE, CPrinter, wrap

#: bfloat16 as the upper half of a float.
_BFLOAT16 = {
    "from_bfloat16": """// bfloat16 is the upper half of a float.
inline float from_bfloat16(oneapi::bfloat16 value) {
  const auto bits = static_cast<unsigned>(sycl::bit_cast<unsigned short>(value));
  return sycl::bit_cast<float>(bits << 16);
}

""",
    "to_bfloat16": """// Rounds to the nearest bfloat16, ties to even; a NaN stays one.
inline oneapi::bfloat16 to_bfloat16(float value) {
  const auto bits = sycl::bit_cast<unsigned>(value);
  const unsigned rounded = sycl::isnan(value) ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1);
  return sycl::bit_cast<oneapi::bfloat16>(static_cast<unsigned short>(rounded >> 16));
}

""",
}


class SyclPrinter(CPrinter):
    """What SYCL spells its own way: the fastest axis of an nd_range is the last."""

    language = "sycl"
    extension = ".cpp"
    types = {
        "float32": "float", "float64": "double", "int32": "int", "int64": "long long",
        "int16": "short", "int8": "signed char", "uint8": "unsigned char", "bool": "bool",
        "float16": "sycl::half", "bfloat16": "oneapi::bfloat16",
    }  # fmt: skip
    reads = {"float16": "static_cast<float>({0}[{1}])", "bfloat16": "from_bfloat16({0}[{1}])"}
    conversions = _BFLOAT16
    writes = {
        "float16": "{0}[{1}] = static_cast<sycl::half>({2});",
        "bfloat16": "{0}[{1}] = to_bfloat16({2});",
    }  # fmt: skip
    calls = {
        "exp": "sycl::exp({0})", "log": "sycl::log({0})", "sqrt": "sycl::sqrt({0})",
        "rsqrt": "sycl::rsqrt({0})", "erf": "sycl::erf({0})", "tanh": "sycl::tanh({0})",
        "sigmoid": "(1.0f / (1.0f + sycl::exp(-({0}))))", "abs": "sycl::fabs({0})",
        "floor": "sycl::floor({0})", "maximum": "maximum({0}, {1})",
        "minimum": "minimum({0}, {1})", "isnan": "sycl::isnan({0})", "not": "!({0})",
        "pow": "sycl::pow({0}, {1})", "sin": "sycl::sin({0})", "cos": "sycl::cos({0})",
        "log1p": "sycl::log1p({0})", "expm1": "sycl::expm1({0})", "ceil": "sycl::ceil({0})",
        "trunc": "sycl::trunc({0})", "round": "sycl::rint({0})", "fmod": "sycl::fmod({0}, {1})",
    }  # fmt: skip
    device_function = "inline "
    shuffles = True
    shared_pointer = ""
    #: Not sycl::group_barrier: the optimiser of DPC++ 2026.2 deletes it where only local memory is
    #: touched until the next one (seen in the SPIR-V of a tree reduction), which is a race.
    barrier = "item.barrier(sycl::access::fence_space::local_space);"
    thread = "item.get_local_linear_id()"
    unroll = "#pragma unroll"
    unroll_steps = "#pragma unroll 4"  # as for OpenCL
    infinity = "INFINITE"

    def group(self, axis: int, rank: int) -> str:
        """Position of the work-group along an axis, x first."""
        return f"item.get_group({rank - 1 - axis})"

    def prologue(self, rank: int, arguments: Sequence[Argument] = ()) -> str:
        """This work-item and where it stands."""
        return f"  const auto item = oneapi::this_work_item::get_nd_item<{rank}>();"

    def group_call(self, combine: str, dtype: str, value: str, group: bool) -> str:
        """The group algorithm; not for floating max and min, where it would lose a NaN."""
        if not group or (combine in ("max", "min") and "float" in dtype):
            return ""
        words = {"sum": "plus", "prod": "multiplies", "max": "maximum", "min": "minimum"}
        return f"sycl::reduce_over_group(item.get_group(), {value}, sycl::{words[combine]}<>())"

    def preamble(self, body: str) -> str:
        """SYCL, and the short names of the extensions used."""
        limits = "#include <limits>\n" if self.infinity in body else ""
        return (
            f"{limits}#include <sycl/sycl.hpp>\n"
            "namespace oneapi = sycl::ext::oneapi;\n"
            "namespace exp_ = sycl::ext::oneapi::experimental;\n"
        )

    def helpers(self, body: str) -> str:
        """Infinity by a short name (the JIT has no INFINITY), and what C calls."""
        value = "std::numeric_limits<float>::infinity()"
        made = f"constexpr float {self.infinity} = {value};\n\n" if self.infinity in body else ""
        return made + super().helpers(body)

    def parameter(self, argument: Argument) -> str:
        """A USM pointer."""
        const = "" if argument.output else "const "
        return f"{const}{self.types[argument.dtype]}* {argument.name}"

    def kernel(self, entry: str, arguments: Sequence[Argument], threads: str, rank: int) -> str:
        """A free function marked as an nd_range kernel."""
        mark = f'extern "C" SYCL_EXT_ONEAPI_FUNCTION_PROPERTY((exp_::nd_range_kernel<{rank}>))\n'
        return mark + wrap(
            f"void {entry}(", [self.parameter(a) for a in arguments], ")", BESIDE_BRACE
        )

    def shared(self, dtype: str, name: str, dimensions: str) -> str:
        """An array in local memory."""
        return f"exp_::work_group_static<{self.types[dtype]}{dimensions}> {name};"

    def launcher(self, plan: Plan) -> str:
        """A host function that submits every kernel to `queue`."""
        buffers = (*plan.inputs, *plan.outputs, *plan.temporaries)
        parameters = ["sycl::queue& queue"] + [
            f"{'' if b.name in plan.writable else 'const '}{self.types[b.dtype]}* {b.name}"
            for b in buffers
        ]
        body = self._looped(plan) if plan.loops else self._straight(plan)
        return (
            "\n// Submits to `queue`; every pointer is a contiguous USM array, shapes above.\n"
            + wrap(f"sycl::event {plan.launcher}(", parameters, ") {\n")
            + fold_c(body) + "}\n"
        )  # fmt: skip

    def _straight(self, plan: Plan) -> str:
        """One launch after the other, each waiting for the one before."""
        lines = []
        for position, launch in enumerate(plan.launches):
            last = position == len(plan.launches) - 1
            keep = "return " if last else f"const auto step{position + 1} = "
            before = f"step{position}" if position else ""
            lines.append(self._submit(launch, launch.arguments, keep, before))
        return "".join(lines)

    def _looped(self, plan: Plan) -> str:
        """Launches and loops of launches; `done` is the one before."""
        types = {b.name: self.types[b.dtype] for b in plan.temporaries}
        body = "  sycl::event done;\n"
        for loop, launches in plan.parts():
            text = "".join(
                self._submit(p, [self.place(loop, a) for a in p.arguments], "done = ", "done")
                for p in launches
            )
            if loop is not None:
                text = self.rounds(loop, text, lambda name: f"{types[name]}* const {name}_before")
            body += text
        return body + "  return done;\n"

    def _submit(self, launch: LaunchPlan, arguments: Sequence[str], keep: str, before: str) -> str:
        """The statement that submits one kernel after the event `before`."""
        rank = 1 if launch.rank == 1 else 3
        items, groups = self._range(launch.block, rank), self._range(launch.grid, rank)
        call = wrap(
            "    exp_::nd_launch(",
            ["handler", f"sycl::nd_range<{rank}>(groups * items, items)",
             f"exp_::kernel_function<{launch.entry}>", *arguments], ");\n", 98,
        )  # fmt: skip
        wait = f"    handler.depends_on({before});\n" if before else ""
        return (
            f"  {keep}exp_::submit_with_event(queue, [&](sycl::handler& handler) {{\n{wait}"
            f"    const sycl::range<{rank}> groups({groups});\n"
            f"    const sycl::range<{rank}> items({items});\n"
            f"{call}  }});\n"
        )

    @staticmethod
    def _range(expressions: Sequence[Expression], rank: int) -> str:
        kept = list(expressions[:rank])
        kept += [Int(1)] * (rank - len(kept))
        return ", ".join(to_c(e) for e in reversed(kept))


#: Not by the type's own conversions: for those the compiler makes one device image per device
#: feature, and a kernel would no longer be one image.
