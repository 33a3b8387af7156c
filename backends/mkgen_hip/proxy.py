"""Runs HIP text, compiled by NVRTC, on an NVIDIA GPU: a proxy, never evidence of an AMD GPU."""

from __future__ import annotations

from typing import ClassVar

from mkgen.record import EvidenceKind
from mkgen_simt.cupy_device import CupyExecutor


class HipProxyExecutor(CupyExecutor):
    """HIP text through NVRTC on any NVIDIA GPU that can run the artifact."""

    name: ClassVar[str] = "hip-on-nvidia"
    kind: ClassVar[EvidenceKind] = EvidenceKind.PROXY
    backend: ClassVar[str] = "hip"
    cannot_see: ClassVar[tuple[str, ...]] = (
        "code generation for an AMD GPU",
        "waves of 64 lanes",
        "AMD's memory ordering",
        "speed on an AMD GPU",
        "races that did not happen in this run",
    )

    @property
    def remedy(self) -> str:
        """See CupyExecutor."""
        return "pip install mkgen[cuda]"

    def exact_arch(self) -> bool:
        """A proxy speaks for no NVIDIA arch in particular."""
        return False
