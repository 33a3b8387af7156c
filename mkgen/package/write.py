"""Writes a package: the kernel as it was evaluated, and what a stranger needs around it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mkgen.codegen.package import PackageParts, PackagePlan
from mkgen.errors import UnsupportedError, UserError
from mkgen.evaluate.inputs import reference_call
from mkgen.evaluate.protocol import Candidate
from mkgen.files import atomic_write, is_inside
from mkgen.foreign.native_program import SourceCandidate, native_name
from mkgen.package.budget import test_budget
from mkgen.package.check_file import check_text
from mkgen.package.head import head_lines, with_head
from mkgen.package.readme import readme_text
from mkgen.package.reference import reference_file
from mkgen.profile import find_profile
from mkgen.program import GIVEN, Artifact, BufferRole, Program
from mkgen.reading import json_value
from mkgen.record import Record
from mkgen.share import share_root
from mkgen.target import Target
from mkgen.task import Workload

_ROLES = (*GIVEN, BufferRole.TEMPORARY, BufferRole.OUTPUT)
#: Names that would hide a module which PyTorch or a file of the package imports.
_TAKEN = sys.stdlib_module_names | {
    "model", "reference", "torch", "numpy", "jax", "triton", "pyopencl", "pytest",
}  # fmt: skip
_PATH = re.compile(r"(?<![\w.])/(?:[^\s/'\":;,=]+/)+")
_RIGHTS = """\
mkgen claims no rights in the code it generates: what is in this directory is yours, but for
reference.py, which is the task's own source. Where a licence is wanted, the generated files are
offered under the one below.
"""


def package_name(task: str, target: Target) -> str:
    """`conv2d-hip-gfx942`: the name of a package's directory."""
    return f"{task}-{target.backend}-{target.arch}"


def write_package(
    directory: Path, candidate: Candidate, program: Program, record: Record,
    artifact: Artifact | None,
) -> tuple[str, ...]:  # fmt: skip
    """Writes `program` of `candidate`, judged in `record`, into `directory`; the files' names.

    The kernels are what was evaluated: `program` must have the record's `text_sha`. Without an
    artifact (nothing here could compile it) build/ is left out. The same arguments give the same
    bytes. UserError when the directory holds something else, UnsupportedError when the program
    needs what a package cannot give.
    """
    _refuse(directory, program, record)
    workload = _workload(candidate, program)
    plan, reference = _plan(candidate, program, workload)
    backend = candidate.backend
    parts = backend.package(plan)
    comment = backend.printer(program.target.arch).comment
    head = comment(head_lines(plan, record, artifact))
    shipped = with_head(program, [head] * len(program.sources))
    binaries = _binaries(artifact)
    texts = {source.name: source.text for source in shipped.sources}
    texts |= parts.files
    texts["reference.py"] = reference
    if isinstance(candidate, SourceCandidate):
        texts[native_name(candidate.task.name, backend)] = candidate.text
    budget = test_budget(candidate.task, workload, record)
    texts[f"test_{plan.task}.py"] = check_text(plan, candidate.task, workload, budget)
    texts["LICENSE"] = _RIGHTS + "\n" + (share_root("templates") / "package/LICENSE").read_text()
    names = tuple(sorted([*texts, *binaries, "README.md", "record.json"]))
    texts["README.md"] = readme_text(
        plan, parts, record, candidate.task, workload, _descriptions(plan, names, artifact)
    )
    packed = packed_record(record, names)
    _write(directory, _Content(texts, binaries, packed), parts)
    return names


def packed_record(record: Record, files: tuple[str, ...]) -> Record:
    """`record` as it lies in a package: paths relative to it, and nothing of the run's own.

    How long things took and where a compiler lay would make two equal packages differ.
    """
    artifacts = tuple(
        a.model_copy(
            update={
                "path": f"build/{Path(a.path).name}",
                "isa_path": f"build/{Path(a.isa_path).name}" if a.isa_path else None,
                "command": _PATH.sub("", a.command),
                "seconds": 0.0,
            }
        )
        for a in record.artifacts
    )
    results = tuple(
        r.model_copy(update={"seconds": 0.0, "message": _PATH.sub("", r.message)})
        for r in record.results
    )
    return record.model_copy(
        update={
            "artifacts": artifacts,
            "results": results,
            "reason": _PATH.sub("", record.reason),
            "files": files,
            "seconds": 0.0,
        }
    )


@dataclass(frozen=True)
class _Content:
    texts: Mapping[str, str]
    binaries: Mapping[str, bytes]
    record: Record


def _refuse(directory: Path, program: Program, record: Record) -> None:
    if record.text_sha != program.text_sha or record.target != program.target:
        raise UserError(
            f"the record is of the text {record.text_sha[:12]} for {record.target}, the program "
            f"has {program.text_sha[:12]} for {program.target}: evaluate this program first"
        )
    for buffer in program.buffers:
        if buffer.role not in _ROLES or buffer.strides is not None or buffer.alias is not None:
            raise UnsupportedError(
                f"a package cannot hold {program.task}: its buffer {buffer.name!r} is "
                f"{buffer.role.value} with strides or storage of its own; only contiguous inputs, "
                "parameters, temporaries and outputs can be given by a caller"
            )
    if program.sources[0].name.endswith(".py") and program.task in _TAKEN:
        raise UserError(
            f"a module called {program.task}.py would hide Python's or the package's own; "
            "give the task another name"
        )
    if directory.exists() and not directory.is_dir():
        raise UserError(f"{directory} is a file; choose another directory")
    if directory.is_dir() and any(directory.iterdir()) and not _is_package(directory):
        raise UserError(
            f"{directory} is not empty and holds no package; empty it or choose another directory"
        )


def _is_package(directory: Path) -> bool:
    # The licence comes first and the record last, so that a package cut off half-way is known too.
    licence = directory / "LICENSE"
    return (directory / "record.json").is_file() or (
        licence.is_file() and licence.read_text(errors="replace").startswith(_RIGHTS)
    )


def _workload(candidate: Candidate, program: Program) -> Workload:
    for workload in candidate.task.workloads():
        if workload.name == program.workload:
            return workload
    sizes = {s for t in candidate.task.inputs.values() for s in t.symbols()}
    known = {name: value for name, value in program.constants.items() if name in sizes}
    return Workload(name=program.workload, role="user", sizes={**candidate.task.bench, **known})


def _plan(candidate: Candidate, program: Program, workload: Workload) -> tuple[PackagePlan, str]:
    task, backend = candidate.task, candidate.backend
    arch = backend.archs[program.target.arch]
    reference = reference_file(task)
    wanted = {b.name for b in program.with_role(BufferRole.PARAMETER, BufferRole.STATE)}
    dotted = reference_call(task, workload.sizes).names if wanted else {}
    plan = PackagePlan(
        program=program,
        title=task.title.rstrip("."),
        arch_title=arch.title,
        device_title=find_profile(program.target.device or arch.profile).title,
        flags=tuple(backend.flags.get(program.precision, ())),
        parameters={name: dotted[name] for name in sorted(wanted)},
        reference=reference.name,
        reference_is_class=reference.is_class,
    )
    return plan, reference.text


def _binaries(artifact: Artifact | None) -> dict[str, bytes]:
    if artifact is None:
        return {}
    paths = [Path(p) for p in (artifact.path, artifact.isa_path) if p]
    return {f"build/{path.name}": path.read_bytes() for path in paths}


def _descriptions(
    plan: PackagePlan, names: tuple[str, ...], artifact: Artifact | None
) -> dict[str, str]:
    known = {
        plan.program.sources[0].name: "the kernels" + (
            "" if len(plan.program.sources) > 1 else f" and the launcher `{plan.launcher}`"
        ),
        plan.program.sources[-1].name: f"the launcher `{plan.launcher}`"
        if len(plan.program.sources) > 1
        else f"the kernels and the launcher `{plan.launcher}`",
        "model.py": f"`ModelNew` and the op `torch.ops.{plan.identifier}.{plan.task}`",
        "reference.py": "the task's own PyTorch source",
        f"test_{plan.task}.py": "compares `ModelNew` with the reference",
        "build.sh": "the vendor's compile line",
        f"{plan.task}.native{Path(plan.program.sources[0].name).suffix}": "the kernels as their "
        "author wrote them, with the head that `mkgen eval --source` reads",
        "record.json": "what was tried and seen",
        "LICENSE": "Apache-2.0",
    }  # fmt: skip
    if artifact is not None:
        if artifact.isa_path:
            known[f"build/{Path(artifact.isa_path).name}"] = "its assembly"
        known[f"build/{Path(artifact.path).name}"] = (
            f"the kernels compiled for {artifact.arch} ({artifact.format}), as the record has them"
        )
    return {
        name: known.get(name, "the launcher's prototype" if name.endswith(".h") else "")
        for name in names
    }


def _write(directory: Path, content: _Content, parts: PackageParts) -> None:
    """Licence first, record last; what an older package had and this one has not is removed."""
    old = old_files(directory)
    if any(_differs(directory / name, text) for name, text in content.texts.items()):
        old |= set(parts.products)
    for name in ("LICENSE", *(n for n in content.texts if n != "LICENSE")):
        atomic_write(directory / name, content.texts[name])
        if name.endswith(".sh"):
            mode = (directory / name).stat().st_mode
            (directory / name).chmod(mode | ((mode & 0o444) >> 2))
    for name, data in content.binaries.items():
        atomic_write(directory / name, data)
    for name in old - set(content.record.files):
        (directory / name).unlink(missing_ok=True)
    text = json.dumps(content.record.stored(), indent=2, sort_keys=True)
    atomic_write(directory / "record.json", text + "\n")


def _differs(path: Path, text: str) -> bool:
    return not path.is_file() or path.read_bytes() != text.encode()


def old_files(directory: Path) -> set[str]:
    """What the package in `directory` says it consists of; never anything outside it."""
    try:
        names = json_value((directory / "record.json").read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return set()  # no older package, or one whose record is not whole
    # the file may have been written by anyone: nothing outside the directory is ever removed
    given = names if isinstance(names, list) else []
    return {name for name in given if isinstance(name, str) and is_inside(directory, name)}
