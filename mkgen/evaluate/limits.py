"""Limits of the target, enforced by us: compilers accept programs that no device can launch."""

from __future__ import annotations

from dataclasses import dataclass

from mkgen.codegen.backend import Backend, Limits
from mkgen.document import content_hash
from mkgen.errors import UserError, nearest
from mkgen.profile import HardwareProfile, find_profile
from mkgen.program import Artifact, Launch, Program, Simt, TritonLaunch
from mkgen.target import Target

_UNLIMITED = 2**31 - 1


@dataclass(frozen=True)
class TargetLimits:
    """What one target allows, and what its device is called."""

    limits: Limits
    registers_per_unit: int | None
    """None where the profile counts registers in another way than per thread."""
    sub_groups: tuple[int, ...]
    """Widths the device can run; empty where the profile does not say."""
    lanes: int
    """Lanes of the arch's warp, wave or sub-group."""
    device: str
    title: str
    profile_sha: str
    """Of all that the profile says."""


def target_limits(backend: Backend, target: Target) -> TargetLimits:
    """The limits of `target`, from its device's profile. UserError when either is unknown."""
    arch = backend.archs.get(target.arch)
    if arch is None:
        hint = nearest(target.arch, backend.archs)
        raise UserError(f"backend {backend.name} has no arch {target.arch!r}.{hint}")
    profile = find_profile(target.device or arch.profile)
    vmem = _fact(profile, "vmem_bytes", _UNLIMITED)
    shared = _fact(profile, "shared_bytes_per_block", vmem)
    limits = Limits(
        threads_per_block=_fact(profile, "threads_per_block", _UNLIMITED),
        shared_bytes=shared,
        static_shared_bytes=_fact(profile, "static_shared_bytes_per_block", shared),
        registers_per_thread=_fact(profile, "registers_per_thread", _UNLIMITED),
        grid=backend.grid_limit,
    )
    # Intel's registers belong to a hardware thread of many lanes: no product with threads there
    per_thread = profile.facts.get("registers_per_thread")
    counted = per_thread is not None and not per_thread.unit.startswith("GRF")
    sub_groups = profile.facts.get("sub_group_sizes")
    values = sub_groups.value if sub_groups else ()
    return TargetLimits(
        limits=limits,
        registers_per_unit=_fact(profile, "registers_per_unit", _UNLIMITED) if counted else None,
        sub_groups=values if isinstance(values, tuple) else (int(values),),
        lanes=arch.sub_group,
        device=profile.name,
        title=profile.title,
        profile_sha=content_hash(profile.canonical_json()),
    )


def last_level_cache(backend: Backend, target: Target) -> int:
    """Bytes of the last-level cache of `target`'s device; 0 where its profile does not say."""
    return _fact(profile_of(backend, target), "last_level_cache_bytes", 0)


def profile_of(backend: Backend, target: Target) -> HardwareProfile:
    """The profile of `target`'s device, or of the usual one of its arch."""
    return find_profile(target.device or backend.archs[target.arch].profile)


def launch_excess(program: Program, target: TargetLimits) -> str:
    """What a launch of `program` asks for beyond the target; empty when nothing."""
    for launch in program.launches:
        excess = _launch_excess(launch, target)
        if excess:
            return f"{launch.entry}: {excess} ({target.title}); choose other parameters"
    return ""


def artifact_excess(program: Program, artifact: Artifact, target: TargetLimits) -> str:
    """What the compiled kernels need beyond the target; empty when nothing."""
    threads = {launch.entry: _threads(launch, target.lanes) for launch in program.launches}
    limits = target.limits
    for entry, resources in artifact.resources.items():
        registers, shared = resources.registers or 0, resources.shared_bytes or 0
        static = resources.static_shared_bytes or 0
        # an entry that the compiler names otherwise is held to the largest launch
        lanes = threads.get(entry, max(threads.values(), default=0))
        excess = ""
        if shared > limits.shared_bytes:
            excess = f"{shared} bytes of shared memory; {limits.shared_bytes} are allowed"
        elif static > limits.static_shared_bytes:
            excess = (
                f"{static} bytes of static shared memory; {limits.static_shared_bytes} are "
                "allowed, and more only as dynamic shared memory"
            )
        elif limits.registers_per_thread and registers > limits.registers_per_thread:
            excess = f"{registers} registers per thread; {limits.registers_per_thread} are allowed"
        elif target.registers_per_unit and registers * lanes > target.registers_per_unit:
            excess = (
                f"{registers} registers in {lanes} threads of a block; "
                f"{target.registers_per_unit} registers are there"
            )
        if excess:
            return f"{entry}: {excess} ({target.title}); choose other parameters"
    return ""


def _fact(profile: HardwareProfile, name: str, default: int) -> int:
    return profile.integer(name) if name in profile.facts else default


def _threads(launch: Launch, lanes: int) -> int:
    configuration = launch.configuration
    if isinstance(configuration, Simt):
        x, y, z = configuration.block
        return x * y * z
    return configuration.warps * lanes if isinstance(configuration, TritonLaunch) else 0


def _launch_excess(launch: Launch, target: TargetLimits) -> str:
    configuration, limits = launch.configuration, target.limits
    threads = _threads(launch, target.lanes)
    if threads > limits.threads_per_block:
        return f"{threads} threads per block; {limits.threads_per_block} are allowed"
    if isinstance(configuration, Simt | TritonLaunch):
        for axis, blocks, most in zip("xyz", configuration.grid, limits.grid, strict=True):
            if not 1 <= blocks <= most:
                return f"{blocks} blocks along {axis}; 1 to {most} are allowed"
    if isinstance(configuration, Simt):
        if configuration.dynamic_shared > limits.shared_bytes:
            return (
                f"{configuration.dynamic_shared} bytes of dynamic shared memory; "
                f"{limits.shared_bytes} are allowed"
            )
        width = configuration.sub_group
        if width is not None and target.sub_groups and width not in target.sub_groups:
            return f"relies on {width} lanes; the device has {target.sub_groups}"
    return ""
