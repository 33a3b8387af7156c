"""What a target takes: kinds of kernel by dtype, and why not where it does not."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import get_args

from mkgen.codegen.backend import Backend, Limitation
from mkgen.codegen.registry import backends
from mkgen.codegen.template import Template, templates
from mkgen.errors import UnsupportedError
from mkgen.ir.kernel import Kernel, KernelKind
from mkgen.program import Dtype

KINDS: tuple[str, ...] = get_args(KernelKind)
DTYPES: tuple[str, ...] = get_args(Dtype)


@dataclass(frozen=True)
class Support:
    """Whether a target has kernels of one kind over one dtype."""

    kind: str
    dtype: str
    ok: bool
    tags: tuple[str, ...] = ()
    """Only kernels with one of these tags; empty means any."""
    reason: str = ""
    """Why not, or what the dtype is held in."""
    index_bits: tuple[int, ...] = (32,)

    @property
    def word(self) -> str:
        """For a table: `yes`, `no`, `matmul, conv`."""
        if not self.ok:
            return "no"
        return (", ".join(self.tags) or "yes") + ("*" if self.reason else "")


def support(backend: Backend, arch: str) -> tuple[Support, ...]:
    """Every kind of kernel with every dtype, for `arch` of `backend`."""
    return tuple(_support(backend, arch, kind, dtype) for kind in KINDS for dtype in DTYPES)


def _support(backend: Backend, arch: str, kind: str, dtype: str) -> Support:
    limitation = limitation_of(backend, arch, dtype)
    if limitation is not None and limitation.refused:
        return Support(kind, dtype, False, reason=limitation.reason)
    if dtype not in backend.dtypes:
        return Support(kind, dtype, False, reason=f"{backend.name} has none")
    fitting = [t for t in _own(backend, arch) if t.spec.kind == kind]
    taking = [t for t in fitting if dtype in t.spec.dtypes]
    if not taking:
        what = "no template takes it" if fitting else "no template makes such kernels"
        return Support(kind, dtype, False, reason=what)
    tags = () if any(not t.spec.tags for t in taking) else sorted({g for t in taking for g in
                                                                   t.spec.tags})  # fmt: skip
    bits = sorted({b for t in taking for b in t.spec.index_bits})
    held = limitation.reason if limitation else ""
    return Support(kind, dtype, True, tuple(tags), held, tuple(bits))


def limitation_of(backend: Backend, arch: str, dtype: str) -> Limitation | None:
    """What `backend` says of `dtype` on `arch`."""
    for limitation in backend.limitations:
        if dtype in limitation.dtypes and (not limitation.archs or arch in limitation.archs):
            return limitation
    return None


def require(backend: Backend, arch: str, kernel: Kernel, dtypes: Collection[str]) -> None:
    """UnsupportedError when `backend` has not one of `dtypes` on `arch`, with the nearest remedy.

    The C family shares its templates: that one takes a dtype does not mean that each member does.
    """
    for dtype in sorted(dtypes):
        limitation = limitation_of(backend, arch, dtype)
        refused = limitation is not None and limitation.refused
        if refused or dtype not in backend.dtypes:
            why = limitation.reason if limitation else f"{backend.name} has no {dtype}"
            raise UnsupportedError(
                f"{backend.name}:{arch} has no {dtype} (kernel {kernel.name!r}): {why}. "
                f"{remedy(backend, arch, kernel.kind, dtype)}"
            )


def no_template(
    backend: Backend, arch: str, kernel: Kernel, dtypes: Collection[str], bits: int
) -> UnsupportedError:
    """Why no template takes `kernel`: the dtype, the width of its indices, or its form."""
    where = f"{backend.name}:{arch}"
    fitting = [t for t in _own(backend, arch) if t.spec.kind == kernel.kind and
               (not t.spec.tags or kernel.tag in t.spec.tags)]  # fmt: skip
    lacking = [d for d in sorted(dtypes) if not any(d in t.spec.dtypes for t in fitting)]
    said = f"{where} has no template for the {kernel.kind} kernel {kernel.name!r}"
    if not fitting:
        return UnsupportedError(f"{said}. {_elsewhere(backend, kernel.kind, '')}")
    if lacking:
        return UnsupportedError(
            f"{said} over {', '.join(lacking)}. {remedy(backend, arch, kernel.kind, lacking[0])}"
        )
    if not any(bits in t.spec.index_bits for t in fitting):
        return UnsupportedError(
            f"{said} with {bits}-bit indices, which 2**31 elements and more need. Choose smaller "
            f"sizes, or: {_elsewhere(backend, kernel.kind, '')}"
        )
    return UnsupportedError(
        f"{said} over {', '.join(sorted(dtypes))} together with {bits}-bit indices. "
        f"{_elsewhere(backend, kernel.kind, '')}"
    )


def remedy(backend: Backend, arch: str, kind: str, dtype: str) -> str:
    """The nearest thing that works instead of `dtype`: another dtype here, or another backend."""
    here = [s.dtype for s in support(backend, arch) if s.kind == kind and s.ok]
    floats = [d for d in ("float32", "bfloat16", "float16") if d in here]
    if dtype.startswith(("float", "bfloat")) and floats:
        first = f"Use --dtype {floats[0]}"
    else:
        integers = [d for d in ("int64", "int32", "bool", "float32") if d in here]
        first = f"Make it {integers[0]} in the task" if integers else ""
    other = _elsewhere(backend, kind, dtype)
    return f"{first}; {other}" if first else other


def _elsewhere(backend: Backend, kind: str, dtype: str) -> str:
    """Other backends that have such kernels at their usual arch."""
    found = [
        b.name
        for b in backends().values()
        if b.name != backend.name
        and any(
            s.ok and s.kind == kind and not s.tags and (not dtype or s.dtype == dtype)
            for s in support(b, b.default_arch)
        )
    ]
    listed = f"--backend {' or '.join(found)} has it" if found else "no backend here has it"
    return f"{listed} (mkgen targets show {backend.name} lists what there is)"


def _own(backend: Backend, arch: str) -> list[Template]:
    return [
        t for t in templates()
        if t.spec.dialect == backend.dialect and (not t.spec.targets or arch in t.spec.targets)
    ]  # fmt: skip
