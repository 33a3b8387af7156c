"""The OpenCL part of a package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mkgen.codegen.package import PackageParts, PackagePlan
from mkgen.errors import UnsupportedError
from mkgen.package.model_file import (
    ModelCall,
    allocations,
    literal,
    model_text,
    returned,
    wrapped,
)
from mkgen.program import Glue, Launch, Repeat, Simt, Step
from mkgen_opencl.devices import INTEL_NAMES
from mkgen_simt.package import build_script, c_header, library_name


def parts(plan: PackagePlan) -> PackageParts:
    """Header and build.sh of the C launcher, and model.py over pyopencl."""
    source, library = plan.program.sources[-1], library_name(plan)
    told = (
        f"// Enqueues on an in-order `queue`; `program` is built from "
        f"{plan.program.sources[0].name}.\n// `event`, when not NULL, becomes the last kernel's.\n"
    )
    script = build_script(
        f"Builds {library}, the launcher for C and C++. model.py does not need it.",
        ("CC", "cc"),
        ("-O2 -std=c11 -Wall -DCL_TARGET_OPENCL_VERSION=120", "-shared -fPIC",
         f"{source.name} -o {library} -lOpenCL"),
    )  # fmt: skip
    options = " ".join(plan.flags)
    return PackageParts(
        files={
            f"{plan.launcher}.h": c_header(plan, "CL/cl.h", told),
            "build.sh": script,
            "model.py": model_text(plan, _call(plan)),
        },
        needs=f"pyopencl, an OpenCL driver for {plan.arch_title}, and PyTorch; for C, a compiler "
        "and the OpenCL headers.",
        build="model.py builds the kernels itself. build.sh makes the launcher's library for C "
        "and C++:",
        products=(library,),
        limits=(
            "model.py takes CPU tensors and copies them to the device and back.",
            "A driver's binary, and so its hash in record.json, may differ from build to build.",
            f"Build the program with `{options}`, as model.py does: it was judged so.",
        ),
    )


def _call(plan: PackagePlan) -> ModelCall:
    steps = plan.program.steps
    if any(isinstance(inner, Glue) for step in steps for inner in _inner(step)):
        raise UnsupportedError(
            f"{plan.task} does more than launch kernels; a package for OpenCL cannot hold that yet"
        )
    loops = any(isinstance(step, Repeat) for step in steps)
    if loops:
        launches = literal(tuple(_part(step) for step in steps), taken=8)
    else:
        launches = literal(tuple(_row(s) for s in plan.program.launches), taken=11)
    written = {w for launch in plan.program.launches for w in launch.writes}
    results = tuple(b.name for b in (*plan.outputs, *plan.states) if b.name in written)
    setup = (_SETUP_OF_LOOPS if loops else _SETUP).format(
        source=plan.program.sources[0].name, options=literal(tuple(plan.flags), taken=10),
        launches=launches, results=literal(results, taken=10), title=plan.arch_title,
        fits=_fits(plan.program.target.arch),
    )  # fmt: skip
    buffers = (*plan.outputs, *plan.temporaries)
    tensors = [f"{b.name}={b.name}" for b in plan.program.buffers]
    first = plan.inputs[0].name
    return ModelCall(
        summary="The kernels are built from their source by the device's driver at the first call.",
        imports=("import functools", "import importlib.util", "from pathlib import Path"),
        local_imports=(),
        setup=setup,
        body=allocations(buffers, f"{first}.device")
        + wrapped("_run(", tensors, ")", outer=4)
        + returned(plan),
        alignment=False,
    )


def _inner(step: Step) -> Sequence[Launch | Glue]:
    return step.steps if isinstance(step, Repeat) else (step,)


def _part(step: Step) -> tuple[Any, ...]:
    """A launch or a loop of them: rounds, launches, what changes places, where slices begin."""
    loop = step if isinstance(step, Repeat) else Repeat(count=1, steps=(step,))
    launches = tuple(_row(s) for s in loop.steps if isinstance(s, Launch))
    slices = {name: (loop.start.get(name, 0), by) for name, by in loop.advance.items()}
    return loop.count, launches, loop.swaps, slices


def _row(launch: Launch) -> tuple[Any, ...]:
    simt = launch.configuration
    if not isinstance(simt, Simt) or simt.dynamic_shared:
        raise UnsupportedError(f"{launch.entry} cannot be launched by pyopencl as it is")
    rank = max((i for i in range(3) if simt.grid[i] * simt.block[i] > 1), default=0) + 1
    total = tuple(g * b for g, b in zip(simt.grid, simt.block, strict=True))[:rank]
    return launch.entry, total, simt.block[:rank], launch.args


def _fits(arch: str) -> str:
    """An expression over `device`, of pyopencl's module `cl`."""
    if arch == "cpu":
        return "device.type & cl.device_type.CPU"
    if arch.startswith("sm_"):
        major, minor = arch[3:-1], arch[-1]
        return (
            '"NVIDIA" in device.vendor and (device.compute_capability_major_nv, '
            f"device.compute_capability_minor_nv) == ({major}, {minor})"
        )
    words = ", ".join(f'"{word}"' for word in INTEL_NAMES[arch])
    return f"any(word in device.name for word in ({words},))"


_SETUP = '''DEVICE = "cpu"

LAUNCHES = {launches}
"""Kernel, global size, local size, arguments."""

OPTIONS = {options}
RESULTS = {results}
"""What is copied back: the outputs, and state that changes."""

_SOURCE = Path(__file__).resolve().parent / "{source}"


@functools.cache
def _device():
    import pyopencl as cl

    try:
        platforms = cl.get_platforms()
    except cl.LogicError:  # how a loader says that it has no driver
        return None
    for device in (device for platform in platforms for device in platform.get_devices()):
        if {fits}:
            return device
    return None


def missing() -> str:
    """Why the kernel cannot run here; empty when it can."""
    # pyopencl is imported late, so that this can say that it is not here.
    if importlib.util.find_spec("pyopencl") is None:
        return "pyopencl is not installed; pip install pyopencl"
    if _device() is None:
        return (
            "no OpenCL device for {title}; "
            "install its driver, or name it in OCL_ICD_VENDORS"
        )
    return ""


@functools.cache
def _built():
    reason = missing()
    if reason:
        raise RuntimeError(reason)
    import pyopencl as cl

    context = cl.Context([_device()])
    program = cl.Program(context, _SOURCE.read_text()).build(list(OPTIONS))
    return context, cl.CommandQueue(context), program


def _array(tensor: torch.Tensor):
    """The tensor's own memory."""
    # numpy has no bfloat16; the kernel reads its bits
    bits = tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor
    return bits.detach().numpy()


def _run(**tensors: torch.Tensor) -> None:
    """Copies the tensors to the device, runs the kernels, and copies the results back."""
    context, queue, program = _built()
    import pyopencl as cl

    flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
    arrays = {{name: _array(tensor) for name, tensor in tensors.items()}}
    buffers = {{name: cl.Buffer(context, flags, hostbuf=array) for name, array in arrays.items()}}
    for entry, size, group, arguments in LAUNCHES:
        kernel = cl.Kernel(program, entry)
        kernel(queue, size, group, *(buffers[name] for name in arguments))
    for name in RESULTS:
        cl.enqueue_copy(queue, arrays[name], buffers[name])
'''

_SETUP_OF_LOOPS = (
    _SETUP.replace(
        '''LAUNCHES = {launches}
"""Kernel, global size, local size, arguments."""
''',
        '''PARTS = {launches}
"""Rounds; kernel, global size, local size, arguments of each launch of a round; buffers that change
places after it; buffers it sees a slice of: the element where the first begins, and the step."""
''',
    )
    .replace(
        "    import pyopencl as cl\n\n    flags",
        "    import numpy as np\n    import pyopencl as cl\n\n    flags",
    )
    .replace(
        """    for entry, size, group, arguments in LAUNCHES:
        kernel = cl.Kernel(program, entry)
        kernel(queue, size, group, *(buffers[name] for name in arguments))
""",
        """    for rounds, launches, swaps, slices in PARTS:
        kernels = {{entry: cl.Kernel(program, entry) for entry, _, _, _ in launches}}
        for number in range(rounds):
            for entry, size, group, arguments in launches:
                given = []
                for name in arguments:
                    given.append(buffers[name])
                    if name in slices:
                        first, step = slices[name]
                        given.append(np.int64(first + number * step))
                kernels[entry](queue, size, group, *given)
            for a, b in swaps:
                buffers[a], buffers[b] = buffers[b], buffers[a]
""",
    )
)
