"""Defences that are in the harness beside the kernel, switched off in the child that runs it.

A worker that is started with their names in MKGEN_CARELESS has them off (careless_site, which is
on its PYTHONPATH then): the harness is as careless as these say, everything else is as it is.
"""

from __future__ import annotations

from typing import Any
from unittest import mock


def slow_reader() -> Any:
    """A harness that takes its time before it reads the outputs."""
    import hostile

    return mock.patch.object(hostile.HostileLoaded, "settle", 0.2)


def no_guard_zones() -> Any:
    """What lies beside a buffer is not looked at."""
    from mkgen_simt.memory import Block

    return mock.patch.object(Block, "check", return_value=None)


def inputs_not_remembered() -> Any:
    """What a kernel did to its inputs is not looked at."""
    from mkgen_simt.memory import Block

    return mock.patch.object(Block, "remember", return_value=None)


def zeroed_buffers() -> Any:
    """Buffers that nobody wrote hold zeros, as they do on a good day."""
    from mkgen_simt.memory import Block

    return mock.patch.object(Block, "poison", lambda self: self.bytes.fill(0))


def nothing_poisoned() -> Any:
    """Outputs hold what the last run left there."""
    from mkgen_simt.memory import Block

    return mock.patch.object(Block, "poison", return_value=None)


def fresh_addresses() -> Any:
    """Every run has buffers of its own, and none of them is ever freed."""
    from mkgen_simt.host import SimtProgram
    from mkgen_simt.memory import Memory

    kept = []

    def memory(self: Any, inputs: Any, fenced: bool) -> Any:
        kept.append(Memory(self._program, inputs, fenced))
        return kept[-1]

    return mock.patch.object(SimtProgram, "_memory", memory)


def roomy_host() -> Any:
    """SIMT-on-host gives a block as much shared memory as it asks for."""
    from mkgen_simt import host

    return mock.patch.dict(host.SHARED_LIMIT, {"hip": 128 << 10})


def no_triton_guards() -> Any:
    """What lies beside a tensor is not looked at."""
    from mkgen_triton.guards import Guards

    return mock.patch.object(Guards, "check", return_value=None)


def no_kernel_required() -> Any:
    """Nobody asks whether a Pallas text has a kernel, or what it computes outside of it."""
    from mkgen_pallas import interpreter

    return mock.patch.object(interpreter, "_require_kernels", return_value=None)
