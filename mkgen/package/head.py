"""The head comment of a packaged source: what a reader must know before the first line of code."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from mkgen.codegen.package import PackagePlan
from mkgen.evaluate.wording import headline
from mkgen.program import Artifact, Buffer, Launch, Program, Resources, Simt, TritonLaunch
from mkgen.record import Record

_WIDTH = 96


def evidence_line(record: Record, device: str) -> str:
    """`PASS (EMULATED): never run on an AMD Instinct MI300X`: the record's own headline."""
    return headline(record, device).partition("    ")[2]


def head_lines(plan: PackagePlan, record: Record, artifact: Artifact | None) -> tuple[str, ...]:
    """Shapes, target, launches, resources, evidence, generator; no line over 100 columns."""
    program = plan.program
    lines = [
        f"{plan.title}.",
        shapes_line(plan),
        f"Target {program.target}, {plan.arch_title}; precision class {program.precision.value}.",
    ]
    for launch in program.launches:
        resources = artifact.resources.get(launch.entry) if artifact else None
        lines.append(f"{launch.entry}: {', '.join(_launch_facts(launch, resources))}.")
    lines.append(f"Evidence: {evidence_line(record, plan.device_title).rstrip('.')}; record.json.")
    templates = ", ".join(dict.fromkeys(program.variant.templates))
    lines.append(f"Generator: mkgen {record.mkgen_version}, template {templates}.")
    return tuple(part for line in lines for part in _fold(line))


def shapes_line(plan: PackagePlan) -> str:
    """`float32: x[4096, 1000] -> y[4096, 1000].`"""
    dtypes = ", ".join(dict.fromkeys(b.dtype for b in plan.inputs))
    return f"{dtypes}: {_described(plan.inputs)} -> {_described(plan.outputs)}."


def with_head(program: Program, texts: Sequence[str]) -> Program:
    """`program` whose sources begin with `texts`; what is compiled stays the same, byte by byte."""
    sources = tuple(
        source.model_copy(update={"head": head})
        for source, head in zip(program.sources, texts, strict=True)
    )
    changed = program.model_copy(update={"sources": sources})
    if changed.text_sha != program.text_sha:
        raise AssertionError("a head comment changed the text that was evaluated")
    return changed


def _described(buffers: Sequence[Buffer]) -> str:
    return ", ".join(f"{b.name}{list(b.shape)}" for b in buffers)


def _launch_facts(launch: Launch, resources: Resources | None) -> Iterator[str]:
    configuration = launch.configuration
    grid = " x ".join(str(n) for n in _trimmed(configuration.grid))
    if isinstance(configuration, Simt):
        block = " x ".join(str(n) for n in _trimmed(configuration.block))
        yield f"{grid} work-groups of {block} work-items"
    elif isinstance(configuration, TritonLaunch):
        yield f"{grid} programs of {configuration.warps} warps, {configuration.stages} stages"
    else:
        yield "one call"
    if resources is not None:
        yield from _resource_facts(resources)


def _resource_facts(resources: Resources) -> Iterator[str]:
    if resources.registers is not None:
        yield f"{resources.registers} registers"
    if resources.accumulator_registers:
        yield f"{resources.accumulator_registers} accumulator registers"
    if resources.shared_bytes is not None:
        yield f"{resources.shared_bytes:,} bytes of on-chip memory"
    spilled = [resources.spilled_registers, resources.spill_bytes]
    if resources.spilled_registers:
        yield f"{resources.spilled_registers} registers spilled"
    elif resources.spill_bytes:
        yield f"{resources.spill_bytes} bytes spilled"
    elif any(s == 0 for s in spilled):
        yield "no spills"


def _trimmed(extents: Sequence[int]) -> list[int]:
    kept = list(extents) or [1]
    while len(kept) > 1 and kept[-1] == 1:
        kept.pop()
    return kept


def _fold(line: str) -> list[str]:
    return textwrap.wrap(
        line, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
