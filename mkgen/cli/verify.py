"""`mkgen verify`: a package, or a record of a run, evaluated again, here and now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from mkgen.cli import options
from mkgen.cli.again import choose, judged_again, key_starts, read_record, records_file
from mkgen.cli.present import emit, progress, record_object, say
from mkgen.cli.request import settings_of
from mkgen.errors import EXIT_FAILED, UserError
from mkgen.evaluate.basis import basis_of
from mkgen.evaluate.cache import file_sha
from mkgen.evaluate.limits import target_limits
from mkgen.evaluate.outcome import exit_code
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import ON_DEVICE, evaluate
from mkgen.evaluate.store import RunStore, read_lines
from mkgen.evaluate.wording import describe
from mkgen.files import is_inside
from mkgen.program import Program
from mkgen.record import Evidence, EvidenceKind, Record, Status


@click.command("verify")
@click.argument("place", metavar="DIR|RUN|FILE")
@options.together(
    click.option("--task", metavar="NAME", help="Of a run: the record of this task."),
    click.option("--target", metavar="BACKEND:ARCH[@DEVICE]", help="Of a run: for this target."),
    click.option("--key", metavar="KEY", help="Of a run: the record whose key begins so."),
    click.option("--keep", is_flag=True, help="Append the new record to the run."),
    options.require,
    options.compare,
    options.device,
    options.sanitize,
    options.toolchain,
    options.seed,
    options.timeout,
    options.json_output,
)
def command(
    place: str,
    task: str | None,
    target: str | None,
    key: str | None,
    keep: bool,
    required: tuple[str, ...],
    compared: tuple[str, ...],
    on_device: bool,
    sanitize: bool,
    seed: int,
    timeout: float | None,
    as_json: bool,
) -> int:
    """Evaluate the package DIR, or a record of RUN, again, and say what differs.

    The same task, templates and parameters; nothing in DIR is changed. Every claim of the old
    record is confirmed, differs, or was not repeated here; only what was seen now counts. It runs
    the task's source that the record holds: verify only what you would run.

    \b
    mkgen verify conv2d-hip-gfx942 --require device
    mkgen verify runs/night --task conv2d --target hip:gfx942 --keep
    """
    old, package = _chosen(Path(place), task, target, key)
    if keep and package is not None:
        raise UserError("--keep is for runs: a package stays as it is")
    settings = settings_of(
        seed=seed,
        timeout=timeout,
        required=required,
        on_device=on_device,
        compared=compared,
        sanitize=sanitize,
    )
    with Workers() as workers, progress(not as_json) as advance:
        advance("verifying", 0, 1)
        backend, workload, candidate = judged_again(old, package)
        program = candidate.program(workload)
        new = evaluate(candidate, workers, settings)
        if keep:
            basis = basis_of(backend, workers, settings)
            _append(Path(place), new.model_copy(update={"basis": basis}))
    faults, notes = differences(package, old, new, program)
    found = claims(old, new)
    title = target_limits(backend, old.target).title
    say(describe(new, title, place).rstrip())
    for claim in found:
        say(f"{claim.state:<13}{claim.kind.value} {claim.told}")
    for fault in faults:
        say(f"differs    {fault}")
    for note in notes:
        say(f"note       {note}")
    if not (faults or notes):
        say(f"nothing differs from the {'record' if package is None else 'package'}")
    if as_json:
        emit(
            record_object(new)
            | {"differences": faults, "notes": notes, "directory": place}
            | {"claims": [claim.object() for claim in found]}
        )
    code = exit_code([new], [EvidenceKind(kind) for kind in required])
    # a package that is not what its record says has failed, whatever a fresh kernel does
    return EXIT_FAILED if faults and code in (0, 3) else code


def _chosen(
    place: Path, task: str | None, target: str | None, key: str | None
) -> tuple[Record, Path | None]:
    """The record to do again, and the package that it is of, if it is of one. UserError."""
    lines = records_file(place)
    if lines is None:
        if task or target or key:
            raise UserError(f"{place} is no run: leave --task, --target and --key out")
        return read_record(place), place
    named = [
        record
        for record in key_starts(read_lines(lines), key or "")
        if (task is None or record.task == task)
        and (target is None or str(record.target) == target)
    ]
    # of a pair of task and target the last counts, as everywhere
    last = {(r.task, r.target, r.precision, r.origin): r for r in named}
    words = " ".join(word for word in (task, target, key) if word)
    return choose(list(last.values()), f"{words or 'anything'} in {place}"), None


def _append(run: Path, record: Record) -> None:
    store = RunStore(run if run.is_dir() else run.parent)
    try:
        store.append(record)
    finally:
        store.close()


@dataclass(frozen=True)
class Claim:
    """One piece of the old record's evidence, and what was seen of it now."""

    kind: EvidenceKind
    state: str
    """`confirmed`, `differs` or `not repeated`."""
    told: str

    def object(self) -> dict[str, str]:
        """For --json."""
        return {"kind": self.kind.value, "state": self.state, "told": self.told}


def claims(old: Record, new: Record) -> list[Claim]:
    """Every claim of `old`, in its order, by what `new` showed."""
    return [_claim(evidence, new) for evidence in old.evidence]


def _claim(evidence: Evidence, new: Record) -> Claim:
    kind = evidence.kind
    again = [e for e in new.evidence if e.kind is kind]
    if not again:
        wrong = new.status not in (Status.PASS, Status.EVIDENCE_MISSING, Status.NO_TOOLCHAIN)
        if wrong:
            return Claim(kind, "differs", f"{new.status.value}: {new.reason}")
        if new.reason:
            return Claim(kind, "not repeated", new.reason)
        asked = kind in ON_DEVICE or kind is EvidenceKind.SANITIZED
        told = f"it was not asked for: --require {kind.value}" if asked else "nothing here gives it"
        return Claim(kind, "not repeated", told)
    same = next((e for e in again if _same(evidence, e)), None)
    if same is None:
        told = f"by {again[0].executor} of {again[0].executed[:21] or again[0].compiler}, not of "
        return Claim(kind, "differs", told + (evidence.executed[:21] or evidence.compiler))
    where = f" on {same.ran_on.name}" if same.ran_on else ""
    return Claim(kind, "confirmed", f"by {same.executor}{where}")


def _same(old: Evidence, new: Evidence) -> bool:
    """Whether the same thing ran, and at the same sizes."""
    if old.kind is EvidenceKind.COMPILED:
        return old.compiler_sha == new.compiler_sha
    return old.executed == new.executed and set(old.workloads) <= set(new.workloads)


def differences(
    package: Path | None, old: Record, new: Record, program: Program
) -> tuple[list[str], list[str]]:
    """What of a package is not as its record says, and what is only worth knowing."""
    faults: list[str] = []
    notes: list[str] = []
    if new.text_sha != old.text_sha:
        faults.append(
            f"text: {old.text_sha[:12]} in the record, {new.text_sha[:12]} from this mkgen "
            f"(the record's is {old.mkgen_version})"
        )
    if package is not None and package.is_dir():
        faults += _files(package, old, program)
    _artifacts(old, new, faults, notes)
    if new.status is not old.status and new.status is not Status.EVIDENCE_MISSING:
        faults.append(f"verdict: {old.status.value} in the record, {new.status.value} now")
    return faults, notes


def _files(package: Path, old: Record, program: Program) -> list[str]:
    """Files that are not there, or not what the record says."""
    faults = []
    for source in program.sources:
        file = package / source.name
        if not file.is_file():
            faults.append(f"{source.name}: not in the package")
        elif source.preamble + source.sizes + source.body not in file.read_text(errors="replace"):
            faults.append(f"{source.name}: the file is not the text that was evaluated")
    for name in old.files:
        if not is_inside(package, name):
            faults.append(f"{name[:200]!r}: named in the record, not a path in the package")
        elif not (package / name).is_file():
            faults.append(f"{name}: named in the record, not in the package")
    for artifact in old.artifacts:
        inside = is_inside(package, artifact.path)
        file = package / artifact.path
        if inside and file.is_file() and file_sha(file) != artifact.sha:
            faults.append(f"{artifact.path}: the file is not the artifact of the record")
    return faults


def _artifacts(old: Record, new: Record, faults: list[str], notes: list[str]) -> None:
    for before, now in zip(old.artifacts, new.artifacts, strict=False):
        if before.sha == now.sha:
            continue
        text = f"artifact for {before.arch}: {before.sha[:12]} in the record, {now.sha[:12]} now"
        if before.compiler_sha == now.compiler_sha:
            faults.append(f"{text}, by the same compiler")
        else:
            notes.append(f"{text}: compiled by {before.compiler} then, by {now.compiler} now")
