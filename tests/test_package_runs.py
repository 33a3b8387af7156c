"""Packages run where mkgen cannot be imported: on a CPU where their language can, else they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from package_support import candidate, package, run

from mkgen.task import Task, load_task
from mkgen_opencl.toolchain import cpu_driver

INTERPRETED = {
    "triton": {"TRITON_INTERPRET": "1"},
    "pallas": {"PALLAS_INTERPRET": "1", "JAX_PLATFORMS": "cpu"},
}


def opencl() -> dict[str, str]:
    driver = cpu_driver().path
    assert driver is not None, "the OpenCL CPU driver is part of the development environment"
    return {"OCL_ICD_VENDORS": str(driver), "PYOPENCL_NO_CACHE": "1"}


#: Sums, loops, state that changes, 16-bit memory, bool, two outputs, and one without dimensions.
KINDS = (
    "conv2d", "softmax", "embedding", "bidirectional_gru", "batch_norm_train", "matmul_bf16",
    "where_broadcast", "max_pool2d_indices", "mse_loss",
)  # fmt: skip


@pytest.mark.parametrize("task", KINDS)
def test_opencl_passes_on_the_cpu(task: str, tmp_path: Path) -> None:
    directory, _, _, _ = package(candidate(task, "opencl"), tmp_path / "a", "check1")
    done = run(directory, f"test_{task}.py", **opencl())
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{task}: PASS: " in done.stdout


def test_a_wrong_kernel_fails_the_packages_own_test(tmp_path: Path) -> None:
    directory, _, _, _ = package(candidate("conv2d", "opencl"), tmp_path / "a", "check1")
    kernel = directory / "conv2d.cl"
    # the last row of taps is left out: most of every sum is still right
    broken = kernel.read_text().replace("depth < C * R * S)", "depth < C * R * S - 1)", 1)
    assert broken != kernel.read_text()
    kernel.write_text(broken)
    done = run(directory, "test_conv2d.py", **opencl())
    assert done.returncode == 1, done.stdout + done.stderr
    assert "conv2d: FAIL: worst error" in done.stdout


def test_state_that_is_not_changed_fails_the_packages_own_test(tmp_path: Path) -> None:
    directory, _, _, _ = package(candidate("batch_norm_train", "opencl"), tmp_path / "a", "check1")
    model = directory / "model.py"
    # what is returned is right, but the running variance stays what it was
    broken = model.read_text().replace('("y", "norm_running_mean", "norm_running_var",', '("y",', 1)
    assert broken != model.read_text()
    model.write_text(broken)
    done = run(directory, "test_batch_norm_train.py", **opencl())
    assert done.returncode == 1, done.stdout + done.stderr
    verdicts = [line.split(": ")[1] for line in done.stdout.splitlines()]
    assert verdicts == ["PASS", "FAIL", "FAIL", "PASS"]


STATE = """
import torch
from model import ModelNew, batch_norm_train
from reference import BatchNormTrain

torch.manual_seed(1)
reference = BatchNormTrain(7)
model = ModelNew(7)
model.load_state_dict(reference.state_dict())
for _ in range(3):
    x = torch.randn(5, 7, 17, 19) + 1
    model(x), reference(x)
want = reference.state_dict()
print(all(torch.allclose(v, want[k], atol=1e-5) for k, v in model.state_dict().items()))
print(batch_norm_train._opoverload._schema)
"""


def test_the_op_says_what_it_changes_and_the_module_keeps_it(tmp_path: Path) -> None:
    directory, _, _, _ = package(candidate("batch_norm_train", "opencl"), tmp_path / "a", "check1")
    done = run(directory, "-c", STATE, **opencl())
    assert done.returncode == 0, done.stderr
    same, schema = done.stdout.splitlines()
    assert same == "True"
    assert re.findall(r"!\) (\w+)", schema) == [
        "norm_running_mean", "norm_running_var", "norm_num_batches_tracked",
    ]  # fmt: skip


@pytest.mark.parametrize("task", ["conv2d", "embedding", "batch_norm_train"])
@pytest.mark.parametrize("backend", ["pallas", "triton"])
def test_interpreted_packages_pass(task: str, backend: str, tmp_path: Path) -> None:
    directory, _, _, _ = package(candidate(task, backend), tmp_path / "a", "check1")
    done = run(directory, f"test_{task}.py", **INTERPRETED[backend])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("backend", "reason"),
    [("cuda", "no NVIDIA GPU"), ("hip", "no AMD GPU"), ("sycl", "no Intel GPU")],
)
def test_says_what_is_missing(backend: str, reason: str, tmp_path: Path) -> None:
    directory, _, _, _ = package(candidate("softmax", backend), tmp_path / "a", "check1")
    hidden = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "", "ZE_AFFINITY_MASK": "99"}
    done = run(directory, "test_softmax.py", **hidden)
    assert done.returncode == 3, done.stdout + done.stderr
    assert f"softmax cannot run here: PyTorch sees {reason}" in done.stderr
    if backend == "hip":
        reported = run(directory, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", **hidden)
        assert reported.returncode == 0, reported.stdout
        assert f"PyTorch sees {reason}" in reported.stdout
        assert "1 skipped" in reported.stdout


OP = """
import torch
from model import ModelNew, conv2d
from reference import conv2d as reference

x, weight = torch.randn(2, 19, 13, 11), torch.randn(70, 19, 3, 3)
torch.library.opcheck(conv2d, (x, weight), test_utils=("test_schema", "test_faketensor"))
wrong = {
    "shape": (x[:1], weight),
    "dtype": (x.double(), weight),
    "contiguous": (x.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2), weight),
}
for name, arguments in wrong.items():
    try:
        ModelNew()(*arguments)
    except ValueError as error:
        print(name, "ValueError", error)
    else:
        print(name, "was taken")
exported = torch.export.export(ModelNew(), (x, weight))
print([n.target for n in exported.graph.nodes if n.op == "call_function"])
parameter = torch.nn.Parameter(weight)
print(torch.allclose(ModelNew()(x, parameter), reference(x, weight), atol=1e-4))
"""


def test_the_op_refuses_what_it_was_not_made_for(tmp_path: Path) -> None:
    directory, _, _, _ = package(candidate("conv2d", "opencl"), tmp_path / "a", "check1")
    done = run(directory, "-c", OP, **opencl())
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("shape ValueError x must be torch.float32 (2, 19, 13, 11), got")
    assert lines[1].startswith("dtype ValueError x must be")
    assert lines[2].startswith("contiguous ValueError x must be contiguous")
    assert "conv2d_opencl_cpu.conv2d" in lines[3]
    assert lines[4] == "True"


MODULE = '''\
"""A linear layer and relu, as a module."""
import torch
from mkgen.task import Task, Tensor


class LinearRelu(torch.nn.Module):
    def __init__(self, features, width):
        super().__init__()
        self.fc = torch.nn.Linear(features, width)

    def forward(self, x):
        return torch.relu(self.fc(x))


task = Task(
    name="linear_relu_module", category="fuse", reference=LinearRelu,
    init={"features": "K", "width": "N"}, inputs={"x": Tensor("M, K")},
    bench={"M": 70, "N": 40, "K": 33},
    check=[{"M": 70, "N": 139, "K": 77}], heldout=[{"M": 33, "N": 65, "K": 19}],
)
'''


def module_task(directory: Path) -> Task:
    path = directory / "linear_relu_module.py"
    path.write_text(MODULE)
    return load_task(path)


def test_a_module_keeps_its_constructor_and_parameters(tmp_path: Path) -> None:
    made = candidate(module_task(tmp_path), "opencl")
    directory, _, _, _ = package(made, tmp_path / "a")
    assert "mkgen" not in (directory / "reference.py").read_text()
    done = run(directory, "test_linear_relu_module.py", **opencl())
    assert done.returncode == 0, done.stdout + done.stderr
    code = (
        "from model import ModelNew\nfrom reference import LinearRelu\n"
        "print(sorted(ModelNew(33, 40).state_dict()) == sorted(LinearRelu(33, 40).state_dict()))"
    )
    assert run(directory, "-c", textwrap.dedent(code)).stdout == "True\n"


LAUNCHER = """
import ctypes
import numpy as np
import pyopencl as cl
import torch
from reference import softmax

x = np.random.default_rng(1).standard_normal((19, 1031), dtype=np.float32)
device = cl.get_platforms()[0].get_devices()[0]
context = cl.Context([device])
queue = cl.CommandQueue(context)
program = cl.Program(context, open("softmax.cl").read()).build(["-cl-std=CL1.2"])
flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
buffers = [cl.Buffer(context, flags, hostbuf=a) for a in (x, np.zeros_like(x))]
function = ctypes.CDLL("build/libsoftmax_f32.so").softmax_f32
function.argtypes = [ctypes.c_void_p] * 5
status = function(queue.int_ptr, program.int_ptr, *(b.int_ptr for b in buffers), None)
got = np.empty_like(x)
cl.enqueue_copy(queue, got, buffers[1])
print(status, bool(np.allclose(got, softmax(torch.from_numpy(x)), atol=1e-6)))
"""


def test_the_c_launcher_is_built_and_runs(tmp_path: Path) -> None:
    library = Path(sys.prefix) / "lib/libOpenCL.so"
    include = Path(sys.prefix) / "include/CL/cl.h"
    if not (library.is_file() and include.is_file() and shutil.which("cc")):
        pytest.skip("needs a C compiler, and CL/cl.h and libOpenCL.so as intel-sycl-rt ships them")
    directory, _, _, _ = package(candidate("softmax", "opencl"), tmp_path / "a", "check1")
    paths = {"CPATH": str(include.parents[1]), "LIBRARY_PATH": str(library.parent)}
    built = subprocess.run(
        [directory / "build.sh"], env={**os.environ, **paths}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    done = run(directory, "-c", LAUNCHER, LD_LIBRARY_PATH=str(library.parent), **opencl())
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0 True\n"
