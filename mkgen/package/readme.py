"""README.md of a package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mkgen.codegen.package import PackageParts, PackagePlan
from mkgen.evaluate.wording import describe, parameters_text
from mkgen.package.head import shapes_line
from mkgen.record import Record
from mkgen.task import Task, Workload, task_files


def readme_text(
    plan: PackagePlan,
    parts: PackageParts,
    record: Record,
    task: Task,
    workload: Workload,
    descriptions: Mapping[str, str],
) -> str:
    """The text; `descriptions` says of each file what it is."""
    program = plan.program
    sections = [
        f"# {plan.task} for {program.target}\n\n{plan.title}.\n\n{shapes_line(plan)}\n"
        f"Written for {plan.arch_title}, parameters for {plan.device_title}.\n",
        "## Evidence\n\n```\n" + describe(record, plan.device_title, ".") + "```\n",
        "## Build, run, test\n\n" + _use(plan, parts),
        "## Files\n\n"
        + "".join(f"- `{name}`: {text}\n" for name, text in descriptions.items() if text),
        "## Parameters\n\n" + _parameters(record) + f"\nTemplate: "
        f"{', '.join(dict.fromkeys(program.variant.templates))}; "
        f"{program.variant.index_bits}-bit indices; precision class {program.precision.value}.\n",
        "## Limits\n\n" + _limits(parts),
        "## Make it again\n\n```\n" + _command(plan, task, workload) + "\n```\n\n"
        "The same mkgen gives the same bytes, where the compiler repeats itself.\n",
    ]
    return "\n".join(sections)


def _use(plan: PackagePlan, parts: PackageParts) -> str:
    arguments = ", ".join(b.name for b in plan.inputs if b.name not in plan.parameters)
    made = "ModelNew(...)" if plan.reference_is_class else "ModelNew()"
    build = f"{parts.build}\n\n```\n./build.sh\n```\n\n" if parts.build else ""
    without = ""
    if parts.without_device:
        without = (
            "\nWithout the device, on a CPU (slow at full size):\n\n"
            f"```\n{parts.without_device}\n```\n"
        )
    return (
        f"Needs: {parts.needs}\n\n{build}```python\nfrom model import ModelNew\n\n"
        f"result = {made}({arguments})\n```\n\n"
        f"`python test_{plan.task}.py` compares it with PyTorch in float64; its exit status is 0 "
        f"when it is right,\n1 when it is wrong, 3 when something it needs is not here.\n{without}"
    )


def _parameters(record: Record) -> str:
    if not record.parameters:
        return "The template has none.\n"
    source = record.parameter_source
    how = f"\nparameters: {parameters_text(source)}\n" if source else ""
    rows = "".join(f"| {key} | {value} |\n" for key, value in sorted(record.parameters.items()))
    return f"| parameter | value |\n|---|---|\n{rows}{how}"


def _limits(parts: PackageParts) -> str:
    common = (
        "Made for exactly the shapes and dtypes above; model.py refuses others with a ValueError.",
        "Forward only: there is no backward.",
    )
    return "".join(f"- {line}\n" for line in (*common, *parts.limits))


def _command(plan: PackagePlan, task: Task, workload: Workload) -> str:
    # a user's own file is named without the directory it lay in
    shipped = task_files().get(plan.task) == Path(task.path)
    name = plan.task if shipped else f"{Path(task.path).name}::{plan.task}"
    command = f"mkgen gen --task {name} --target {plan.program.target}"
    if plan.precision.value != "strict":
        command += f" --precision {plan.precision.value}"
    if workload.role == "user":
        inputs = [b for b in plan.inputs if b.name not in plan.parameters]
        for buffer in inputs:
            command += f" --shape {buffer.name}={','.join(map(str, buffer.shape))}"
    return command
