"""Runs CUDA artifacts on the NVIDIA GPU they were compiled for."""

from __future__ import annotations

from typing import ClassVar

from mkgen.record import EvidenceKind
from mkgen_simt.cupy_device import CupyExecutor


class CudaDeviceExecutor(CupyExecutor):
    """This very cubin on a GPU of its arch."""

    name: ClassVar[str] = "cupy"
    kind: ClassVar[EvidenceKind] = EvidenceKind.DEVICE
    backend: ClassVar[str] = "cuda"
    cannot_see: ClassVar[tuple[str, ...]] = (
        "races that did not happen in this run",
        "reads before a buffer, or less than 16 bytes past it, whose value changes nothing",
        "accesses more than 1 MiB outside a buffer",
    )

    @property
    def remedy(self) -> str:
        """See CupyExecutor."""
        return "pip install mkgen[cuda]"

    def exact_arch(self) -> bool:
        """Device evidence is of the named arch only, as for every other vendor."""
        return True
