"""A program: source texts, buffers and ordered steps; what every backend compiles and runs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from mkgen.document import Document, content_hash
from mkgen.target import Target

Dtype = Literal[
    "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"
]


class PrecisionClass(StrEnum):
    """What rounding a task allows."""

    STRICT = "strict"
    """As accurate as PyTorch in the task's own dtype; the default."""
    TF32 = "tf32"
    """float32 products may round their operands to 10 bits of mantissa."""
    BF16 = "bf16"
    """float32 products may round their operands to bfloat16."""


class Source(Document):
    """One source text: `head + preamble + sizes + body`; `preamble + body` is its identity."""

    name: str
    """File name in the package, `conv2d.hip`."""
    language: Literal["cuda", "hip", "opencl", "sycl", "triton", "pallas", "c", "python"]
    head: str
    """The head comment: shapes, target, resources, evidence. It never changes what is compiled."""
    preamble: str = ""
    """Includes and imports."""
    sizes: str
    """The block of named compile-time constants: the only part that depends on the workload."""
    body: str
    """Everything else, parameters of the variant included."""

    @property
    def text(self) -> str:
        """The file as it is compiled, shipped and run."""
        return self.head + self.preamble + self.sizes + self.body


class BufferRole(StrEnum):
    """What a buffer is for."""

    INPUT = "input"
    PARAMETER = "parameter"
    STATE = "state"
    CONSTANT = "constant"
    PACKED = "packed"
    TEMPORARY = "temporary"
    OUTPUT = "output"


#: Roles of the buffers a launcher is given; it makes every other one itself, or its caller does.
GIVEN = (BufferRole.INPUT, BufferRole.PARAMETER, BufferRole.STATE, BufferRole.CONSTANT)


class Buffer(Document):
    """One array that steps read or write."""

    name: str
    dtype: Dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None = None
    """In elements; None means contiguous, last axis fastest."""
    role: BufferRole
    alignment: int = 16
    """Bytes by which the base address is aligned."""
    alias: str | None = None
    """The buffer whose storage this one shares."""
    initial: float | None = None
    """The value of every element before the first step; None: undefined (poisoned in tests)."""


class Simt(Document):
    """Launch of a grid of thread blocks (work-groups), x first; unused axes are 1."""

    form: Literal["simt"] = "simt"
    grid: tuple[int, int, int]
    """Blocks (work-groups) along each axis."""
    block: tuple[int, int, int]
    """Threads (work-items) of a block along each axis."""
    dynamic_shared: int = 0
    """Bytes."""
    sub_group: int | None = None
    """Lanes the text relies on; None when it relies on none."""


class TritonLaunch(Document):
    """Launch of a Triton kernel; `constexprs` in the kernel's own order, after its pointers."""

    form: Literal["triton"] = "triton"
    grid: tuple[int, int, int]
    constexprs: dict[str, int | float | bool | str]
    warps: int
    stages: int


class Functional(Document):
    """Call of a function of the source that returns its outputs (JAX)."""

    form: Literal["functional"] = "functional"
    grid: tuple[int, ...] = ()


Configuration = Annotated[Simt | TritonLaunch | Functional, Field(discriminator="form")]


class Launch(Document):
    """One kernel launch. `args` are buffer names in the kernel's order."""

    step: Literal["launch"] = "launch"
    source: str
    entry: str
    args: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    phase: Literal["prepare", "run"] = "run"
    configuration: Configuration
    offsets: tuple[str, ...] = ()
    """Arguments that are followed by a 64-bit integer, the element at which they begin: where the
    host cannot move a pointer (OpenCL)."""


class Glue(Document):
    """A layout operation between kernels: never arithmetic, reduction, gather or scatter."""

    step: Literal["glue"] = "glue"
    op: Literal["pad", "permute", "reshape", "slice", "cast", "tile"]
    input: str
    output: str
    attributes: dict[str, tuple[int, ...] | str | float] = {}
    """pad: `low`, `high`, `value`; permute: `order`; reshape: `shape`; slice: `start`, `stop`;
    cast: `dtype`; tile: `repeats`."""


class Repeat(Document):
    """`steps`, `count` times (a recurrent loop over time).

    After each round the buffers of each pair in `swaps` change places, and every buffer named in
    `advance` is seen that many elements further on (a negative number: from the last slice, where
    `start` puts it, to the first).
    """

    step: Literal["repeat"] = "repeat"
    count: int
    steps: tuple[Launch | Glue, ...]
    swaps: tuple[tuple[str, str], ...] = ()
    advance: dict[str, int] = {}
    start: dict[str, int] = {}
    """Elements further on at which a buffer is seen in the first round; 0 where it is not named."""
    stacks: tuple[tuple[str, str], ...] = ()
    """(array, part): the part that a round has made becomes the round's slice of the array, where
    the loop itself does that (jax.lax.scan) and no kernel writes into a slice."""


Step = Annotated[Launch | Glue | Repeat, Field(discriminator="step")]


class Variant(Document):
    """Every choice that changes a program's control flow."""

    templates: tuple[str, ...]
    """`c/rowwise`, one per kernel, in step order."""
    parameters: dict[str, int | str | bool]
    index_bits: Literal[32, 64]

    @property
    def key(self) -> str:
        """`c/rowwise THREADS=256 index=32`: the same for the same choices."""
        values = " ".join(f"{k}={v}" for k, v in sorted(self.parameters.items()))
        return f"{'+'.join(self.templates)} {values} index={self.index_bits}".replace("  ", " ")


class Program(Document):
    """What every backend compiles and runs."""

    task: str
    task_hash: str
    workload: str
    target: Target
    precision: PrecisionClass = PrecisionClass.STRICT
    sources: tuple[Source, ...]
    """The first holds the kernels; `launcher` is in the last (the same one but for OpenCL)."""
    buffers: tuple[Buffer, ...]
    """In the launcher's order: inputs, then outputs, then temporaries."""
    steps: tuple[Step, ...]
    variant: Variant
    launcher: str
    """The host function: `conv2d_f32` (C family), `conv2d` (Python)."""
    constants: dict[str, int]
    """The values in the size block."""
    requirements: tuple[tuple[str, bool], ...] = ()
    """What check and held-out sizes must show together: (condition as written in the template's
    front matter, whether it holds at this program's sizes); loops of two rounds, tails."""

    @property
    def text_sha(self) -> str:
        """Hash of the text without head comment and size values: one text, many sizes."""
        return content_hash(*(part for s in self.sources for part in (s.name, s.preamble, s.body)))

    @property
    def launches(self) -> tuple[Launch, ...]:
        """Every launch in order, those inside a Repeat once."""
        found: list[Launch] = []
        for step in self.steps:
            inner = step.steps if isinstance(step, Repeat) else (step,)
            found.extend(s for s in inner if isinstance(s, Launch))
        return tuple(found)

    @property
    def rounds(self) -> tuple[int, ...]:
        """How often each of `launches` is run."""
        found: list[int] = []
        for step in self.steps:
            inner = step.steps if isinstance(step, Repeat) else (step,)
            count = step.count if isinstance(step, Repeat) else 1
            found.extend(count for s in inner if isinstance(s, Launch))
        return tuple(found)

    def buffer(self, name: str) -> Buffer:
        """The buffer called `name`; KeyError when there is none."""
        for buffer in self.buffers:
            if buffer.name == name:
                return buffer
        raise KeyError(name)

    def with_role(self, *roles: BufferRole) -> tuple[Buffer, ...]:
        """The buffers that have one of `roles`, in order."""
        return tuple(b for b in self.buffers if b.role in roles)


class Resources(Document):
    """Static resources of one kernel, as its compiler states them; None where it does not say."""

    registers: int | None = None
    """Registers per thread (VGPRs on AMD; GRFs per hardware thread on Intel)."""
    accumulator_registers: int | None = None
    """AGPRs (AMD)."""
    scalar_registers: int | None = None
    """SGPRs (AMD)."""
    spilled_registers: int | None = None
    """Registers spilled to memory, per thread."""
    spill_bytes: int | None = None
    """Bytes of spill stores per thread."""
    stack_bytes: int | None = None
    """Bytes of private (scratch, local) memory per thread."""
    shared_bytes: int | None = None
    """Bytes of static plus dynamic shared (local, LDS, SLM) memory per block; VMEM on a TPU."""
    static_shared_bytes: int | None = None
    """Of these, the bytes whose number stands in the text; the rest is asked for at launch."""
    occupancy_waves: int | None = None
    """Waves per SIMD the compiler expects (AMD)."""
    simd_width: int | None = None
    """Lanes the kernel was compiled for (Intel)."""
    code_bytes: int | None = None


class Artifact(Document):
    """A program compiled for one arch."""

    arch: str
    format: Literal[
        "cubin", "hsaco", "spirv", "tpu", "xla", "intel", "opencl-binary", "shared-object", "python"
    ]
    """xla: XLA's serialized executable, its machine code compressed inside. python: the text
    itself; nothing was compiled ahead of time, and there is no `compiled` evidence of it."""
    path: str
    """Absolute path while working; relative inside a package."""
    sha: str
    """SHA-256 of the file."""
    resources: dict[str, Resources]
    """By kernel entry name."""
    compiler: str
    """Name and version, `clang 22.1.8 (LLVM's AMDGPU backend, not ROCm)`."""
    compiler_sha: str
    """SHA-256 of the compiler's binary."""
    command: str
    """What was run, or the options given to an in-process compiler."""
    isa_path: str | None = None
    """Readable assembly or IR, when the compiler gives one."""
    checked: str
    """How the file was seen to hold this arch's code: `e_flags EF_AMDGPU_MACH 0x4c (gfx942)`."""
    seconds: float
