"""What an executor may claim, by what its backend says of the arch: asked before any evidence.

mkgen.claims refuses evidence that contradicts its own record; here is what a record alone cannot
tell: which executor it was, what a device of the arch is called, and what only stands in for it.
"""

from __future__ import annotations

from mkgen.codegen.backend import Arch, Backend, Executor
from mkgen.profile import HardwareProfile, find_profile
from mkgen.record import EvidenceKind, RanOn, Record
from mkgen.target import Target

_KINDS = (
    EvidenceKind.EMULATED, EvidenceKind.SANITIZED, EvidenceKind.PROXY, EvidenceKind.DEVICE,
)  # fmt: skip


def ran_as(arch: Arch, told: RanOn) -> RanOn:
    """`told` with the arch as targets call it, where a device of `arch` calls itself otherwise."""
    return told.model_copy(update={"arch": arch.name}) if told.arch == arch.device else told


def unclaimable(executor: Executor, backend: Backend, target: Target, told: RanOn) -> str:
    """Why `executor`, which ran on `told`, gives no evidence of its kind; empty when it does."""
    if executor.kind not in _KINDS:
        return f"no executor gives {executor.kind.value} evidence"
    if executor.kind is EvidenceKind.DEVICE and not executor.needs_artifact:
        return "it does not run the artifact, so that it is no evidence of the device"
    return _unfit(executor.kind, backend.archs[target.arch], target, told)


def _unfit(kind: EvidenceKind, arch: Arch, target: Target, told: RanOn) -> str:
    """Why a run on `told` is not what `kind` says of `target`."""
    ran_on = ran_as(arch, told)
    here = f"{ran_on.name} ({ran_on.arch})"
    if kind is EvidenceKind.PROXY and ran_on.arch == arch.name and not arch.proxy:
        return f"{here} is the target's own device, no proxy for it"
    if kind is not EvidenceKind.DEVICE:
        return ""
    if arch.proxy:
        return f"{target} only stands in for another vendor's device: what runs there is a proxy"
    if ran_on.arch != arch.name:
        return f"it ran on {here}, which is no {arch.name}"
    if target.device is not None and not is_device(find_profile(target.device), ran_on.name):
        return f"it ran on {here}, which is no {target.device}"
    return ""


def is_device(profile: HardwareProfile, name: str) -> bool:
    """Whether `name`, as a driver gives it, can be the device of `profile`.

    A CPU or a TPU has no name that a profile could be known by.
    """
    named, known = _plain(name), (_plain(profile.name), _plain(profile.title))
    return profile.kind != "gpu" or any(each in named or named in each for each in known)


def _plain(name: str) -> str:
    lowered = name.lower().replace("(tm)", "").replace("(r)", "")
    return "".join(c for c in lowered if c.isalnum())


def disputed(record: Record, backend: Backend) -> str:
    """What of `record` `backend`, as installed here, could not have given; empty when nothing.

    An executor that is not here may have been another mkgen's: of it only the arch is asked.
    """
    arch = backend.archs.get(record.target.arch)
    if arch is None:
        return f"{backend.name} has no arch {record.target.arch} here"
    executors = {e.name: e for e in backend.executors()}
    for evidence in record.evidence:
        if evidence.kind is EvidenceKind.COMPILED or evidence.ran_on is None:
            continue
        what = f"{evidence.kind.value} evidence by {evidence.executor}"
        timed = evidence.kind is EvidenceKind.TIMED
        kind = EvidenceKind.DEVICE if timed else evidence.kind
        executor = executors.get(evidence.executor)
        if executor is not None and executor.kind is not kind:
            return f"{what}, which gives {executor.kind.value} evidence"
        reason = _unfit(kind, arch, record.target, evidence.ran_on)
        if reason:
            return f"{what}: {reason}"
    return ""
