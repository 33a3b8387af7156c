"""What trips the wires and what must not: comments, strings, and every text of our own."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mkgen.codegen.registry import backend_named
from mkgen.evaluate.tripwires import findings, told

ROOT = Path(__file__).parent
GOLDEN = ROOT / "golden"
#: Directory of golden sources -> language of what lies in it.
LANGUAGES = ("cuda", "hip", "opencl", "pallas", "sycl", "triton")


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_of_our_own_trips_a_wire(language: str) -> None:
    headers = backend_named(language).headers
    suffixes = (".cu", ".hip", ".cl", ".cpp", ".c", ".py")
    files = [p for p in sorted((GOLDEN / language).iterdir()) if p.suffix in suffixes]
    assert len(files) > 10
    for path in files:
        found = findings(path.read_text(), language, path.name, headers)
        assert not found, told(found)


@pytest.mark.parametrize("path", sorted((ROOT / "data" / "native").iterdir()), ids=lambda p: p.name)
def test_no_honest_kernel_trips_a_wire(path: Path) -> None:
    extensions = {".cu": "cuda", ".hip": "hip", ".cl": "opencl", ".cpp": "sycl"}
    language = extensions.get(path.suffix, "python")
    headers = backend_named(language).headers if language != "python" else frozenset()
    found = findings(path.read_text(), language, path.name, headers)
    assert not found, told(found)


C_CASES = {
    'void f() { system("ls"); }': "system()",
    "void f() { fork (); }": "fork()",
    'void* h = dlopen("x.so", 1);': "dlopen()",
    "long r = ptrace(0, 0, 0, 0);": "ptrace()",
    "int f() { return sys\\\ntem(0); }": "system()",
    "#define RUN fork()": "fork()",
    "__attribute__((constructor)) void f() {}": "attribute constructor",
    "[[gnu::destructor]] void f() {}": "attribute destructor",
    '__attribute__((section(".init_array"))) void* p;': ".init_array",
    'void f() { asm volatile("mov $1, %rax\\n syscall" ::: "rax"); }': "system call",
    "void f() { cublasSgemm(); }": "cublasSgemm",
    "void f() { rocblas_sgemm(); }": "rocblas_sgemm",
    "void f() { miopenConvolutionForward(); }": "miopenConvolutionForward",
    "using namespace cutlass::gemm;": "cutlass::",
    "void f() { thrust::sort(a, b); }": "thrust::",
    "auto y = at::matmul(a, b);": "at::matmul",
    "auto y = torch::softmax(a, 1);": "torch::softmax",
    "std::thread t(f);": "std::thread",
    "#include <cublas_v2.h>": "cublas_v2.h",
    '#include "../secret.h"': "../secret.h",
    "#include HEADER": "HEADER",
    "#include_next <math.h>": "include_next",
}


@pytest.mark.parametrize("text", C_CASES)
def test_words_of_c(text: str) -> None:
    found = findings(f"// one line\n{text}\n", "cuda", "k.cu", frozenset(("cuda_runtime.h",)))
    assert [f.line for f in found] == [2], told(found)
    assert C_CASES[text] in found[0].what


def test_what_c_does_not_run_is_not_read() -> None:
    text = """#include <cuda_runtime.h>
    // system("ls"); fork();
    /* dlopen(0); cublasSgemm();
       asm("syscall"); */
    const char* told = "system(1) at::matmul cublas \\" fork()";
    const char* raw = R"mark(ptrace(0) )" dlopen( )mark";
    const char quote = '"';
    asm volatile("mma.sync.aligned.m16n8k8 {%0}, {%1};" : "=f"(a) : "r"(b));
    int ecosystem(int fork);
    int forks = exit + system;
    torch::Tensor y = torch::empty({1}, torch::kFloat32);
    """
    assert findings(text, "cuda", "k.cu", frozenset(("cuda_runtime.h",))) == []


@pytest.mark.parametrize("tail", ['"', "'", "/*", 'R"x(', "\\", "#", "asm", "asm(", '"\\', "std::"])
def test_a_text_that_breaks_off_is_read_to_its_end(tail: str) -> None:
    assert findings(f"int x;\n{tail}", "cuda", "k.cu") == []


@pytest.mark.parametrize("piece", ["a::", "\\\n", '"', "/*", 'R"(', "#\\\n", "asm ", "1'", "//\n"])
def test_time_grows_with_the_length(piece: str) -> None:
    def seconds(count: int) -> float:
        """The least of three: what else the machine does only adds."""
        took = []
        for _ in range(3):
            started = time.process_time()
            findings(piece * count, "cuda", "k.cu")
            took.append(time.process_time() - started)
        return min(took)

    assert seconds(20_000) < 10 * seconds(5_000) + 0.2


PYTHON_CASES = {
    "exec('x')": "exec",
    "f = eval": "eval",
    "__import__('os')": "__import__",
    "import ctypes": "ctypes",
    "from subprocess import run": "subprocess",
    "import os; os.system('ls')": "os.system",
    "import os as o; o.fork()": "os.fork",
    "import sys; sys.modules['torch'] = None": "sys.modules",
    "import sys; f = sys._getframe()": "sys._getframe",
    "import inspect": "inspect",
    "import gc": "gc",
    "import time": "time",
    "import pip": "pip",
    "from . import reference": "beside it",
    "import torch; torch.cuda.Event.elapsed_time = f": "assigns to torch.cuda.Event.elapsed_time",
    "import torch; torch.backends.cudnn.allow_tf32 = True": "assigns to torch.backends",
    "import torch; setattr(torch, 'mm', f)": "setattr on a module",
    "import torch; g = getattr(torch, 'm' + 'm')": "computed name",
    "import torch; f = torch.compile(g)": "torch.compile",
    "import torch; y = torch.mm(a, b)": "torch.mm",
    "import torch.nn.functional as F; y = F.softmax(x)": "torch.nn.functional.softmax",
    "from torch import matmul as start; y = start(a, b)": "torch.matmul",
    "y = x @ w": "@",
    "y = x.softmax(-1)": ".softmax()",
    "import jax.numpy as jnp; y = jnp.dot(a, b)": "jax.numpy.dot",
    "import torch; s = torch.cuda.Stream()": "stream of its own",
    "class ModelNew(Model): pass": "Model",
    "y = Model()(x)": "Model",
    "x.__class__.__subclasses__()": "__subclasses__",
    "open('/etc/passwd')": "open",
    "y.__class__ = Lazy": "__class__",
}


@pytest.mark.parametrize("text", PYTHON_CASES)
def test_names_of_python(text: str) -> None:
    found = findings(f"# one line\n{text}\n", "python", "k.py")
    assert found and all(f.line == 2 for f in found), told(found)
    assert any(PYTHON_CASES[text] in f.what for f in found), told(found)


def test_what_python_does_not_run_is_not_read() -> None:
    text = '''"""exec(open("x")); import ctypes; torch.mm"""
import math
import torch
import triton
import triton.language as tl


@triton.jit
def kernel(x, y, BLOCK: tl.constexpr):
    """Calls of tl compute: that is what a kernel is for."""
    at = tl.arange(0, BLOCK)
    total = tl.sum(tl.exp(tl.load(x + at)), axis=0)  # eval()
    tl.store(y + at, total.to(tl.float32))


class ModelNew(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = torch.nn.Linear(width, width)
        self.scale = torch.nn.Parameter(torch.ones(width) / math.sqrt(width))

    def forward(self, x):
        if not x.is_contiguous():
            raise ValueError("torch.mm(x) is not called")
        y = torch.empty_like(x).view(-1)
        kernel[(triton.cdiv(x.numel(), 64),)](x, y, BLOCK=64)
        return y.reshape(x.shape)
'''
    assert findings(text, "python", "k.py") == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("def linear(input, weight):\n    return [input.shape for _ in input]\n", []),
        ("twice = lambda input: input + input\n", []),
        ("def f(input):\n    def g():\n        return input\n    return g\ninput()\n", [5]),
        ("def f(input=input):\n    return input()\n", [1]),
        ("@input\ndef f(input):\n    return input\n", [1]),
        ("def f(x=lambda input: 0):\n    return input()\n", [2]),
        ("def f(input):\n    def g():\n        global input\n        return input()\n", [4]),
        ("def k(x):\n    for i in x:\n        input = i + 1\n        x = input\n", []),
        ("def f(x):\n    y = [input for input in x]\n    return input()\n", [2, 3]),
        ("def f(x):\n    def g():\n        input = 3\n    return input()\n", [4]),
        ("def f():\n    input = eval\n    return input('1')\n", [2]),
        ("def f():\n    eval = 1\n    class A:\n        g = eval\n        eval = 2\n", [4, 5]),
        ("class A:\n    input = 3\n    def f(self):\n        return input()\n", [2, 4]),
    ],
)
def test_a_variable_may_have_a_builtins_name(text: str, lines: list[int]) -> None:
    assert [f.line for f in findings(text, "python", "k.py")] == lines


def test_a_layer_may_hold_parameters_and_not_be_called() -> None:
    text = """import torch
class ModelNew(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 3)
    def forward(self, x):
        return self.fc(x)
"""
    (found,) = findings(text, "python", "k.py")
    assert found.line == 7 and "self.fc(…)" in found.what
    assert findings(text, "python", "k.py", allow_library=True) == []


def test_a_handler_that_goes_on_is_a_fallback() -> None:
    text = "def f(x):\n    try:\n        k(x)\n    except Exception:\n        {}\n"
    (found,) = findings(text.format("return x"), "python", "k.py")
    assert found.line == 4
    assert findings(text.format("raise"), "python", "k.py") == []


def test_inline_cuda_is_read_too() -> None:
    text = (
        'SOURCE = """\n#include <torch/extension.h>\n__global__ void k() {}\n\nat::mm(a, b);\n"""\n'
    )
    (found,) = findings(text, "python", "k.py")
    assert found.line == 5 and "at::mm" in found.what


@pytest.mark.parametrize("text", ["(" * 5000, "-" * 100_000 + "1", "x = [" * 1000, "\0", "def"])
def test_what_is_no_python_is_refused(text: str) -> None:
    (found,) = findings(text, "python", "k.py")
    assert "no Python" in found.what or "nested" in found.what
