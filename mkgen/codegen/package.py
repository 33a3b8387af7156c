"""What a backend is told of a package, and what it adds to it: the vendor's part on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mkgen.codegen.source_module import mutated_states
from mkgen.program import GIVEN, Buffer, BufferRole, PrecisionClass, Program


@dataclass(frozen=True)
class PackagePlan:
    """One evaluated program on its way to a directory that a stranger can build and run."""

    program: Program
    """The program of the bench workload (or the user's), as it was evaluated."""
    title: str
    """What it computes, without a full stop: `softmax over the last axis`."""
    arch_title: str
    """`CDNA 3 (MI300X)`."""
    device_title: str
    """`AMD Instinct MI300X`."""
    flags: tuple[str, ...]
    """The backend's compiler options for the program's precision class."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Launcher argument -> dotted name in the module: `fc_weight` -> `fc.weight`; empty for a
    plain function."""
    reference: str = "reference"
    """Name of the reference in reference.py."""
    reference_is_class: bool = False
    """Whether that name is a module class, else a callable."""

    @property
    def task(self) -> str:
        """`conv2d`."""
        return self.program.task

    @property
    def launcher(self) -> str:
        """The host function: `conv2d_f32`."""
        return self.program.launcher

    @property
    def precision(self) -> PrecisionClass:
        """What rounding the kernel may use."""
        return self.program.precision

    @property
    def identifier(self) -> str:
        """`conv2d_hip_gfx942`: unique to task and target, and a name in C and Python."""
        target = self.program.target
        return f"{self.task}_{target.backend}_{target.arch}".replace("-", "_")

    @property
    def inputs(self) -> tuple[Buffer, ...]:
        """What the launcher is given: inputs, then the module's parameters and state."""
        return self.program.with_role(*GIVEN)

    @property
    def outputs(self) -> tuple[Buffer, ...]:
        """What the launcher gives back."""
        return self.program.with_role(BufferRole.OUTPUT)

    @property
    def states(self) -> tuple[Buffer, ...]:
        """Given buffers of the module that the launcher changes: running mean and variance."""
        return mutated_states(self.program)

    @property
    def temporaries(self) -> tuple[Buffer, ...]:
        """Memory the launcher needs between its kernels."""
        return self.program.with_role(BufferRole.TEMPORARY)


@dataclass(frozen=True)
class PackageParts:
    """What only the backend knows: its files and what people must be told of them."""

    files: Mapping[str, str]
    """Text by path in the package: `build.sh`, `model.py`, headers."""
    needs: str
    """What must be installed to build and run, one sentence."""
    build: str = ""
    """What build.sh does, one sentence; empty when there is nothing to build."""
    products: tuple[str, ...] = ()
    """What build.sh makes. Removed when a text changed, so that no old library is loaded."""
    without_device: str = ""
    """A command line that tests the package on a CPU, when there is one."""
    limits: tuple[str, ...] = ()
    """What the vendor's part cannot do; sentences."""
