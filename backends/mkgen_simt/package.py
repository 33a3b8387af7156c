"""What packages of the C family share: header, build script, and ctypes on the built library."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mkgen.codegen.package import PackagePlan
from mkgen.errors import UserError
from mkgen.package.model_file import ModelCall, allocations, returned, wrapped


@dataclass(frozen=True)
class Prototype:
    """The launcher as its source declares it."""

    result: str
    name: str
    parameters: tuple[str, ...]

    @property
    def text(self) -> str:
        """`hipError_t softmax_f32(const float* x, float* y, hipStream_t stream);`"""
        return f"{self.result} {self.name}({', '.join(self.parameters)});"


def prototype(plan: PackagePlan) -> Prototype:
    """The launcher's prototype, read from the text that defines it, so that they agree.

    UserError when the text has no such function at the start of a line.
    """
    source = plan.program.sources[-1]
    found = re.search(
        rf'^(?:extern "C" )?(?P<result>[\w:]+) {plan.launcher}\((?P<parameters>[^)]*)\)\s*\{{',
        source.body,
        re.MULTILINE,
    )
    if found is None:
        raise UserError(
            f"{source.name} defines no host function {plan.launcher}(...); a package needs one"
        )
    parameters = tuple(" ".join(p.split()) for p in found["parameters"].split(","))
    return Prototype(found["result"], plan.launcher, parameters)


def c_header(
    plan: PackagePlan, include: str, told: str, headers: Mapping[str, str] | None = None
) -> str:
    """A header that C and C++ read; `told` says what the arguments are.

    `headers` are those of the vendor's 16-bit types, by type.
    """
    guard = f"{plan.launcher.upper()}_H"
    function = prototype(plan)
    boolean = "#include <stdbool.h>\n" if re.search(r"\bbool\b", function.text) else ""
    narrow = {n: h for n, h in (headers or {}).items() if re.search(rf"\b{n}\b", function.text)}
    known = "".join(f"#include <{header}>\n" for header in narrow.values())
    # C has no such types, and needs none to pass pointers to them on
    opaque = "".join(f"typedef struct {name} {name};\n" for name in narrow)
    other = f"#else\n{opaque}" if opaque else ""
    return (
        f"// SPDX-License-Identifier: Apache-2.0\n// {plan.title}.\n"
        f"#ifndef {guard}\n#define {guard}\n\n{boolean}#include <{include}>\n\n"
        f'#ifdef __cplusplus\n{known}extern "C" {{\n{other}#endif\n\n'
        f"{shape_comment(plan)}{told}{function.text}\n\n"
        "#ifdef __cplusplus\n}\n#endif\n\n#endif\n"
    )


def shape_comment(plan: PackagePlan) -> str:
    """One line for each argument: `// x: float32[32, 64], input`."""
    changed = {b.name for b in plan.states}
    return "".join(
        f"// {b.name}: {b.dtype}{list(b.shape)}, {b.role.value}"
        f"{', changed in place' if b.name in changed else ''}\n"
        for b in plan.program.buffers
    )


def library_name(plan: PackagePlan) -> str:
    """`build/libconv2d_f32.so`."""
    return f"build/lib{plan.launcher}.so"


def build_script(told: str, compiler: Sequence[str], options: Sequence[str]) -> str:
    """build.sh: `compiler` is the variable that may name another one, and the usual one."""
    variable, usual = compiler
    line = " \\\n  ".join([f'"${{{variable}:-{usual}}}"', *options])
    return (
        f"#!/usr/bin/env bash\n# SPDX-License-Identifier: Apache-2.0\n# {told}\n"
        f"# {variable} names another {usual}.\nset -euo pipefail\n"
        f'cd "$(dirname "$0")"\nmkdir -p build\n{line}\n'
    )


def stream_model(plan: PackagePlan, error: str, absent: str) -> ModelCall:
    """ctypes on the library, on the current stream of a torch.cuda device (NVIDIA's or AMD's).

    `error` is the vendor's error type; `absent` are the lines of `missing()` that look for the
    device, indented by 4.
    """
    names = [b.name for b in plan.program.buffers]
    pointers = [f"{name}.data_ptr()" for name in names]
    first = plan.inputs[0].name
    body = (
        allocations((*plan.outputs, *plan.temporaries), f"{first}.device")
        + f"with torch.cuda.device({first}.device):\n"
        "    stream = torch.cuda.current_stream().cuda_stream\n"
        + wrapped(
            f"status = _library().{plan.launcher}(", [*pointers, "stream"], ")", indent=4, outer=4
        )
        + f'if status:\n    raise RuntimeError(f"{plan.launcher} failed: {error} {{status}}")\n'
        + returned(plan)
    )
    return ModelCall(
        summary="The kernel is called from the library that ./build.sh makes, on PyTorch's "
        "current stream.",
        imports=("import ctypes", "import functools", "from pathlib import Path"),
        local_imports=(),
        setup='DEVICE = "cuda"\n' + library_setup(plan, len(names) + 1, absent),
        body=body,
    )


def library_setup(plan: PackagePlan, count: int, absent: str, entry: str = "") -> str:
    """`_LIBRARY`, `missing()` and `_library()` for a function of `count` pointers.

    `entry` is its name where it is not the launcher's.
    """
    entry = entry or plan.launcher
    return f'''_LIBRARY = Path(__file__).resolve().parent / "{library_name(plan)}"


def missing() -> str:
    """Why the kernel cannot run here; empty when it can."""
{absent}    if not _LIBRARY.is_file():
        return f"{{_LIBRARY.name}} is not built; run ./build.sh"
    return ""


@functools.cache
def _library() -> ctypes.CDLL:
    reason = missing()
    if reason:
        raise RuntimeError(reason)
    library = ctypes.CDLL(str(_LIBRARY))
    library.{entry}.argtypes = [ctypes.c_void_p] * {count}
    library.{entry}.restype = ctypes.c_int
    return library
'''
