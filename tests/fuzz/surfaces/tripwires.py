"""Texts of kernels, looked through for what no kernel of its own needs."""

from __future__ import annotations

from mkgen.codegen.registry import libraries, marks
from mkgen.evaluate.tripwires import findings, told

from ..surface import Surface, files, text_of

_HEADERS = frozenset(["hip/hip_runtime.h"])


libraries(), marks()  # known before a text is read: plug-ins are imported for them


def target(data: bytes) -> None:
    text = text_of(data)
    for language in ("hip", "triton"):
        for allowed in (False, True):
            found = findings(text, language, "k", _HEADERS, allow_library=allowed)
            told(found)
            assert all(finding.line >= 1 for finding in found)


def seeds() -> list[bytes]:
    return files("tests/data/native/*")


SURFACE = Surface(
    "tripwires", target, seeds, "python",
    (b"#include <", b"#define X \\\n", b"asm(", b"asm volatile(\"syscall\");", b'R"x(', b')x"',
    b"//",
     b"/*", b"*/", b"\\\n", b"'", b"system(", b"torch::", b"cublas", b"std::thread",
     b"__attribute__((constructor))", b"import torch\n", b"torch.matmul(", b"getattr(", b"exec(",
     b"try:\n pass\nexcept Exception:\n pass\n", b"@triton.jit\n", b"def f(): pass\n",
     b"lambda x: ", b"\"\"\"__global__ #include\"\"\"", b"class A(torch.Tensor): pass\n",
     b"a.b = 1\n"),
)  # fmt: skip
