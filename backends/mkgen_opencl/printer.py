"""OpenCL C: the keyword table, and the host launcher in C."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import indent

from mkgen.codegen.fold_c import fold_c
from mkgen.codegen.plan import LaunchPlan, LoopPlan, Plan
from mkgen.codegen.view import Argument
from mkgen.expression import Expression, to_c
from mkgen.program import Source
from mkgen_simt.printer import BESIDE_BRACE, CPrinter, wrap

#: bfloat16 as the upper half of a float.
_BFLOAT16 = {
    "from_bfloat16": """// bfloat16 is the upper half of a float.
float from_bfloat16(ushort bits) { return as_float((uint)bits << 16); }

""",
    "to_bfloat16": """// Rounds to the nearest bfloat16, ties to even; a NaN stays one.
ushort to_bfloat16(float value) {
  const uint bits = as_uint(value);
  if (isnan(value)) return (ushort)(bits >> 16 | 64);
  return (ushort)(bits + 0x7fff + (bits >> 16 & 1) >> 16);
}

""",
}


class OpenclPrinter(CPrinter):
    """What OpenCL C spells its own way. Barriers only: not every driver has sub-groups."""

    language = "opencl"
    extension = ".cl"
    types = {
        "float32": "float", "float64": "double", "int32": "int", "int64": "long",
        "int16": "short", "int8": "char", "uint8": "uchar", "bool": "uchar",
        "float16": "half", "bfloat16": "ushort",
    }  # fmt: skip
    reads = {"float16": "vload_half({1}, {0})", "bfloat16": "from_bfloat16({0}[{1}])"}
    conversions = _BFLOAT16
    writes = {
        "float16": "vstore_half_rte({2}, {1}, {0});", "bfloat16": "{0}[{1}] = to_bfloat16({2});",
    }  # fmt: skip
    calls = {
        "exp": "exp({0})", "log": "log({0})", "sqrt": "sqrt({0})", "rsqrt": "rsqrt({0})",
        "erf": "erf({0})", "tanh": "tanh({0})", "sigmoid": "(1.0f / (1.0f + exp(-({0}))))",
        "abs": "fabs({0})", "floor": "floor({0})", "maximum": "maximum({0}, {1})",
        "minimum": "minimum({0}, {1})", "isnan": "isnan({0})", "not": "!({0})",
        "pow": "pow({0}, {1})", "sin": "sin({0})", "cos": "cos({0})", "log1p": "log1p({0})",
        "expm1": "expm1({0})", "ceil": "ceil({0})", "trunc": "trunc({0})", "round": "rint({0})",
        "fmod": "fmod({0}, {1})",
    }  # fmt: skip
    device_function = ""
    shared_pointer = "__local "
    barrier = "barrier(CLK_LOCAL_MEM_FENCE);"
    thread = "get_local_id(0)"
    unroll = "#pragma unroll"
    # In full they are 2,048 statements, which a CPU's driver takes ten times longer for.
    unroll_steps = "#pragma unroll 4"
    infinity = "INFINITY"

    def group(self, axis: int, rank: int) -> str:
        """Position of the work-group along an axis."""
        return f"get_group_id({axis})"

    def preamble(self, body: str) -> str:
        """OpenCL C needs no header."""
        return ""

    def constants(self, constants: Mapping[str, int], ctype: str) -> str:
        """Macros: OpenCL C 1.2 has no constant expressions of its own."""
        width = max((len(n) for n in constants), default=0)
        suffix = "L" if ctype == "long" else ""
        return "".join(f"#define {n:<{width}} {v}{suffix}\n" for n, v in constants.items())

    def define(self, name: str, code: str) -> str:
        """A macro that follows from others."""
        return f"#define {name} ({code})"

    def parameter(self, argument: Argument) -> str:
        """A pointer to global memory."""
        const = "" if argument.output else "const "
        return f"__global {const}{self.types[argument.dtype]}* restrict {argument.name}"

    def prologue(self, rank: int, arguments: Sequence[Argument] = ()) -> str:
        """Moves to this round's slices: a host has no pointer that it could move."""
        return "".join(f"  {a.name} += {a.name}_first;\n" for a in arguments if a.sliced).rstrip(
            "\n"
        )

    def kernel(self, entry: str, arguments: Sequence[Argument], threads: str, rank: int) -> str:
        """`__kernel … void name(…)`."""
        head = f"__kernel __attribute__((reqd_work_group_size({threads}, 1, 1)))\nvoid {entry}("
        return head[: head.index("\n") + 1] + wrap(
            f"void {entry}(", self._parameters(arguments), ")", BESIDE_BRACE
        )

    def _parameters(self, arguments: Sequence[Argument]) -> list[str]:
        """Pointers; behind one that is seen by slices, where its slice begins."""
        made = []
        for argument in arguments:
            made.append(self.parameter(argument))
            made += [f"const long {argument.name}_first"] if argument.sliced else []
        return made

    def shared(self, dtype: str, name: str, dimensions: str) -> str:
        """A local array; only kernels may declare one."""
        return f"__local {self.types[dtype]} {name}{dimensions};"

    def launcher(self, plan: Plan) -> str:
        """The launcher is host C, in a file of its own."""
        return ""

    def companions(self, plan: Plan, head: str, sizes: str) -> tuple[Source, ...]:
        """`NAME.c`: sets the arguments and enqueues every kernel."""
        buffers = (*plan.inputs, *plan.outputs, *plan.temporaries)
        parameters = ["cl_command_queue queue", "cl_program program"]
        parameters += [f"cl_mem {b.name}" for b in buffers] + ["cl_event* event"]
        calls = self._looped(plan) if plan.loops else self._straight(plan)
        body = (
            "\n// Sets the arguments of a kernel and enqueues it.\n"
            + (_HELPER_OF_LOOPS if plan.loops else _HELPER)
            + "\n// Enqueues on an in-order queue; `program` is built from the .cl file.\n"
            + wrap(f"cl_int {plan.launcher}(", parameters, ") {\n")
            + fold_c(calls) + "}\n"
        )  # fmt: skip
        constants = self._launch_constants(plan)
        source = Source(
            name=f"{plan.name}.c", language="c", head=head,
            preamble="#include <CL/cl.h>\n", sizes=sizes, body=constants + body,
        )  # fmt: skip
        return (source,)

    @staticmethod
    def _shape(launch: LaunchPlan) -> tuple[int, str]:
        """The launch's rank, and the lines that say how many work-groups of what size it has."""
        axes = [a for a in range(3) if a == 0 or to_c(launch.grid[a]) != "1"]
        groups, blocks = ([to_c(e[a]) for a in axes] for e in (launch.grid, launch.block))
        return len(axes), (
            f"const size_t groups[] = {{{', '.join(groups)}}};\n"
            f"const size_t local[] = {{{', '.join(blocks)}}};\n"
        )

    def _straight(self, plan: Plan) -> str:
        """One call, or several until the first that fails."""
        calls = []
        for position, launch in enumerate(plan.launches):
            last = position == len(plan.launches) - 1
            rank, shape = self._shape(launch)
            arguments = [f"&{a}" for a in launch.arguments]
            asked = ["queue", "program", f'"{launch.entry}"', str(len(arguments)), "arguments"]
            asked += [str(rank), "groups", "local", "event" if last else "NULL"]
            body = wrap("const cl_mem* const arguments[] = {", arguments, "};\n", 96) + shape
            if len(plan.launches) == 1:
                return indent(body + wrap("return enqueue(", asked, ");\n", 96), "  ")
            body += wrap("status = enqueue(", asked, ");\n", 96)
            calls.append(indent(f"if (status == CL_SUCCESS) {{\n{indent(body, '  ')}}}\n", "  "))
        return "  cl_int status = CL_SUCCESS;\n" + "".join(calls) + "  return status;\n"

    def _looped(self, plan: Plan) -> str:
        """Launches and loops of launches, until the first that fails."""
        body = "  cl_int status = CL_SUCCESS;\n"
        parts = plan.parts()
        for number, (loop, launches) in enumerate(parts):
            text = ""
            for launch in launches:
                last = number == len(parts) - 1 and launch is launches[-1]
                text += indent(self._guarded(loop, launch, self._event(loop, last)), "  ")
            if loop is not None:
                text = self.rounds(loop, text, lambda name: f"const cl_mem {name}_before")
            body += text
        return body + "  return status;\n"

    @staticmethod
    def _event(loop: LoopPlan | None, last: bool) -> str:
        """What a call is given as its event: the caller's with the very last one."""
        if loop is None or not last:
            return "event" if last else "NULL"
        final = "0" if loop.reverse else f"{to_c(loop.count)} - 1"
        return f"{loop.variable} == {final} ? event : NULL"

    def _guarded(self, loop: LoopPlan | None, launch: LaunchPlan, event: str) -> str:
        """A call, made when all before it went well."""
        arguments, firsts = [], ""
        for name in launch.arguments:
            arguments.append(f"{{sizeof(cl_mem), &{name}}}")
            if loop is not None and name in loop.slices:
                size = to_c(loop.slices[name])
                firsts += f"const cl_long {name}_first = (cl_long){loop.variable} * ({size});\n"
                arguments.append(f"{{sizeof(cl_long), &{name}_first}}")
        rank, shape = self._shape(launch)
        asked = ["queue", "program", f'"{launch.entry}"', str(len(arguments)), "arguments"]
        asked += [str(rank), "groups", "local", event]
        listed = "".join(f"  {argument},\n" for argument in arguments)
        body = f"{firsts}const argument arguments[] = {{\n{listed}}};\n{shape}"
        body += wrap("status = enqueue(", asked, ");\n", 94)
        return f"if (status == CL_SUCCESS) {{\n{indent(body, '  ')}}}\n"

    def configuration_offsets(self, loop: LoopPlan | None, launch: LaunchPlan) -> tuple[str, ...]:
        """Arguments behind which the kernel takes the element at which they begin."""
        return tuple(a for a in launch.arguments if loop is not None and a in loop.slices)

    def _launch_constants(self, plan: Plan) -> str:
        """Parameters the launch expressions name, as the kernel file defines them."""
        from mkgen.expression import names

        used: set[str] = set()
        for launch in plan.launches:
            every: tuple[Expression, ...] = (*launch.grid, *launch.block)
            for expression in every:
                used |= names(expression)
        own = {k: v for k, v in plan.parameters.items() if k in used}
        return "// Parameters of this variant.\n" + self.constants(own, "int") if own else ""


_HELPER = """static cl_int enqueue(cl_command_queue queue, cl_program program, const char* name,
                      cl_uint count, const cl_mem* const* arguments, cl_uint rank,
                      const size_t* groups, const size_t* local, cl_event* event) {
  cl_int status;
  size_t total[3];
  cl_kernel kernel = clCreateKernel(program, name, &status);
  if (status != CL_SUCCESS) return status;
  for (cl_uint i = 0; i < count && status == CL_SUCCESS; ++i)
    status = clSetKernelArg(kernel, i, sizeof(cl_mem), arguments[i]);
  for (cl_uint axis = 0; axis < rank; ++axis) total[axis] = groups[axis] * local[axis];
  if (status == CL_SUCCESS)
    status = clEnqueueNDRangeKernel(queue, kernel, rank, NULL, total, local, 0, NULL, event);
  clReleaseKernel(kernel);  // the queue keeps it until it has run
  return status;
}
"""

_HELPER_OF_LOOPS = (
    "typedef struct {\n  size_t size;\n  const void* value;\n} argument;\n\n"
    + _HELPER.replace("const cl_mem* const* arguments", "const argument* arguments").replace(
        "sizeof(cl_mem), arguments[i])", "arguments[i].size, arguments[i].value)"
    )
)
