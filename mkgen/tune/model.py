"""The static cost model: roofline, occupancy, waves. An estimate, never a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mkgen.codegen.candidate import Generator, TemplateCandidate
from mkgen.codegen.render import entry_name, parameter_prefix
from mkgen.codegen.template import Parameters, Template
from mkgen.expression import evaluate, parse
from mkgen.profile import HardwareProfile
from mkgen.program import Artifact, Program, Resources

_LAUNCH_SECONDS = 4e-6
_BLOCK_SECONDS = 4e-8
"""What a unit spends on starting one block: relu on an H200 takes 320 us with 524,288 blocks and
132 us with 65,536 of the same size (benchmarks/results/h200_sweep_relu.jsonl)."""
_BUSY = 0.5
"""Share of a unit's threads that must be resident to hide memory latency (Volkov 2016 finds
between a quarter and three quarters, by instruction mix)."""


@dataclass(frozen=True)
class Estimate:
    """What a candidate should take, and why."""

    seconds: float
    bound: str
    """memory or compute."""
    reason: str


@dataclass(frozen=True)
class _Device:
    bandwidth: float
    peak: float
    units: int
    threads: int
    registers: int
    shared: int


def estimate(
    generator: Generator,
    candidate: TemplateCandidate,
    program: Program,
    artifact: Artifact | None = None,
) -> Estimate:
    """The estimate of a candidate at `program`'s sizes, sharper once it is compiled."""
    request = candidate.request
    each = []
    for kernel, template in zip(request.kernels, request.templates, strict=True):
        prefix = parameter_prefix(request.kernels, kernel)
        own = {
            k.removeprefix(prefix): v for k, v in request.parameters.items() if k.startswith(prefix)
        }
        # a kernel may be several launches; the last has its name
        resources = artifact.resources.get(entry_name(request, kernel)) if artifact else None
        facts = generator.facts(kernel)
        each.append(kernel_estimate(generator, facts, template, own, resources))
    return total(each)


def total(kernels: Sequence[Estimate]) -> Estimate:
    """The estimate of kernels that run one after the other; the reason is that of the slowest."""
    slowest = max(kernels, key=lambda e: e.seconds)
    return Estimate(sum(e.seconds for e in kernels), slowest.bound, slowest.reason)


def kernel_estimate(
    generator: Generator,
    facts: Mapping[str, int],
    template: Template,
    parameters: Parameters,
    resources: Resources | None = None,
) -> Estimate:
    """The estimate of one kernel with `facts` of its sizes and device (Generator.facts)."""
    device = _device(generator.profile)
    known: dict[str, int | bool | str] = {**facts, **parameters}
    cost, spec = template.spec.cost, template.spec.launch

    def value(text: str) -> int:
        return evaluate(parse(text), known)

    moved, operations = value(cost.bytes), value(cost.operations)
    rate = max(1, value(cost.efficiency)) / 100
    blocks = math.prod(value(e) for e in spec.grid)
    threads = math.prod(value(e) for e in spec.block)
    if "block" not in spec.model_fields_set:  # a dialect of blocks says how many sub-groups work
        threads = value(spec.warps) * facts["sub_group"]
    if device.threads <= 1:
        threads = 1
    shared = resources.shared_bytes if resources else value(template.spec.shared_bytes)
    busy, full, why = _occupancy(device, blocks, threads, resources, shared or 0)
    memory = moved / (device.bandwidth * busy)
    compute = operations / (device.peak * rate * min(1.0, busy * 2))
    spill = 1.0 + 0.05 * (_spilled(resources) if resources else 0)
    starting = blocks * _BLOCK_SECONDS / device.units if threads > 1 else _BLOCK_SECONDS
    seconds = max(memory, compute) / full * spill + starting
    bound = "memory" if memory >= compute else "compute"
    reason = (
        f"{bound}-bound: {moved / 1e6:.0f} MB at {device.bandwidth / 1e12:.2f} TB/s, "
        f"{operations / 1e9:.1f} Gop at {rate:.0%} of {device.peak / 1e12:.0f} Top/s, {why}"
    )
    # in a loop a kernel runs once a round
    return Estimate((seconds + _LAUNCH_SECONDS) * facts.get("rounds", 1), bound, reason)


def _spilled(resources: Resources) -> float:
    """Registers per thread; some compilers say registers, some bytes of four to a register."""
    if resources.spilled_registers is not None:
        return resources.spilled_registers
    return (resources.spill_bytes or 0) / 4


def _device(profile: HardwareProfile) -> _Device:
    def number(default: float, *facts: str) -> float:
        found = [profile.number(f) for f in facts if f in profile.facts]
        return found[0] if found else default

    return _Device(
        bandwidth=profile.number("memory_bandwidth"),
        peak=number(1e12, "peak_float32", "peak_bfloat16"),
        units=int(number(1, "compute_units", "cores")),
        threads=int(number(1, "threads_per_unit")),
        registers=int(number(0, "registers_per_unit")),
        shared=int(number(0, "shared_bytes_per_unit")),
    )


def _occupancy(
    device: _Device, blocks: int, threads: int, resources: Resources | None, shared: int
) -> tuple[float, float, str]:
    """How well latency is hidden (0-1), how full the last wave is (0-1), and why."""
    if device.threads <= 1 or threads <= 1:
        return 1.0, 1.0, "one core at a time"
    limits = {"threads": device.threads // threads}
    if resources and resources.registers and device.registers:
        used = (resources.registers + (resources.accumulator_registers or 0)) * threads
        limits["registers"] = max(1, device.registers // used)
    if shared and device.shared:
        limits["shared memory"] = max(1, device.shared // shared)
    what = min(limits, key=lambda k: limits[k])
    resident = max(1, limits[what])
    share = resident * threads / device.threads
    waves = blocks / (resident * device.units)
    full = waves / math.ceil(waves)
    return (
        min(1.0, share / _BUSY),
        max(0.05, full),
        f"occupancy {share:.0%} by {what}, {waves:.1f} waves",
    )
