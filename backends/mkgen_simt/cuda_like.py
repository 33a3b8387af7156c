"""What CUDA and HIP spell alike."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from mkgen.codegen.fold_c import fold_c
from mkgen.codegen.plan import LaunchPlan, LoopPlan, Plan
from mkgen.codegen.view import Argument
from mkgen_simt.printer import BESIDE_BRACE, CPrinter, wrap


class CudaLikePrinter(CPrinter):
    """CUDA C++ and HIP share everything but the host API and the lane exchange."""

    types = {
        "float32": "float", "float64": "double", "int32": "int", "int64": "long long",
        "int16": "short", "int8": "signed char", "uint8": "unsigned char", "bool": "bool",
        "float16": "__half",
    }  # fmt: skip
    reads = {"float16": "__half2float({0}[{1}])", "bfloat16": "__bfloat162float({0}[{1}])"}
    writes = {
        "float16": "{0}[{1}] = __float2half({2});", "bfloat16": "{0}[{1}] = __float2bfloat16({2});",
    }  # fmt: skip
    headers: Mapping[str, str]
    """A type that the runtime's header does not have -> its own header."""
    calls = {
        "exp": "expf({0})", "log": "logf({0})", "sqrt": "sqrtf({0})", "rsqrt": "rsqrtf({0})",
        "erf": "erff({0})", "tanh": "tanhf({0})", "sigmoid": "(1.0f / (1.0f + expf(-({0}))))",
        "abs": "fabsf({0})", "floor": "floorf({0})", "maximum": "maximum({0}, {1})",
        "minimum": "minimum({0}, {1})", "isnan": "isnan({0})", "not": "!({0})",
        "pow": "powf({0}, {1})", "sin": "sinf({0})", "cos": "cosf({0})", "log1p": "log1pf({0})",
        "expm1": "expm1f({0})", "ceil": "ceilf({0})", "trunc": "truncf({0})",
        "round": "rintf({0})", "fmod": "fmodf({0}, {1})",
    }  # fmt: skip
    device_function = "__device__ "
    shuffles = True
    shared_pointer = ""
    barrier = "__syncthreads();"
    thread = "threadIdx.x"
    unroll = "#pragma unroll"
    unroll_steps = "#pragma unroll"
    infinity = "INFINITY"
    error: str
    """`hipError_t`."""
    stream: str
    rtc_guard: str
    """Macro that run-time compilers define: they take no host code."""

    def preamble(self, body: str) -> str:
        """The runtime's header, and those of the types that `body` uses."""
        used = [header for word, header in self.headers.items() if word in body]
        return "".join(f"#include <{header}>\n" for header in dict.fromkeys(used))

    def group(self, axis: int, rank: int) -> str:
        """Position of the block along an axis."""
        return f"blockIdx.{'xyz'[axis]}"

    def kernel(self, entry: str, arguments: Sequence[Argument], threads: str, rank: int) -> str:
        """`extern "C" __global__ void __launch_bounds__(THREADS) name(…)`."""
        mark = f'extern "C" __global__ void __launch_bounds__({threads})\n'
        return mark + wrap(f"{entry}(", [self.parameter(a) for a in arguments], ")", BESIDE_BRACE)

    def shared(self, dtype: str, name: str, dimensions: str) -> str:
        """A static shared array."""
        return f"__shared__ {self.types[dtype]} {name}{dimensions};"

    @abstractmethod
    def launch(self, plan: LaunchPlan, arguments: Sequence[str], keep: str, width: int) -> str:
        """The lines that launch one kernel; `keep` is what is done with the error it returns."""

    @abstractmethod
    def sequence(self, plan: Plan) -> str:
        """Every launch one after the other, stopping at the first error."""

    def launches(self, loop: LoopPlan | None, launches: Sequence[LaunchPlan], keep: str) -> str:
        """The launches of one part of a plan, without the loop around them."""
        width = 100 if loop is None else 98
        return "".join(
            self.launch(p, [self.place(loop, a) for a in p.arguments], keep, width)
            for p in launches
        )

    def looped(self, plan: Plan, loop: LoopPlan, body: str) -> str:
        """`body` as a round of `loop`."""
        types = {b.name: self.types[b.dtype] for b in plan.temporaries}
        return self.rounds(loop, body, lambda name: f"{types[name]}* const {name}_before")

    def launcher(self, plan: Plan) -> str:
        """A host function that launches every kernel on `stream`."""
        buffers = (*plan.inputs, *plan.outputs, *plan.temporaries)
        parameters = [
            f"{'' if b.name in plan.writable else 'const '}{self.types[b.dtype]}* {b.name}"
            for b in buffers
        ] + [f"{self.stream} stream"]
        return (
            f"\n#ifndef {self.rtc_guard}\n"
            "// Launches on `stream`; every pointer is a contiguous device buffer, shapes above.\n"
            + wrap(f'extern "C" {self.error} {plan.launcher}(', parameters, ") {\n")
            + f"{fold_c(self.sequence(plan))}}}\n#endif\n"
        )
