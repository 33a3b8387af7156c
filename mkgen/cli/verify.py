"""`mkgen verify`: a package evaluated again, here and now."""

from __future__ import annotations

from pathlib import Path

import click

from mkgen.cli import options
from mkgen.cli.again import candidate_of, read_record
from mkgen.cli.present import emit, progress, record_object, say
from mkgen.cli.request import settings_of
from mkgen.errors import EXIT_FAILED
from mkgen.evaluate.cache import file_sha
from mkgen.evaluate.limits import target_limits
from mkgen.evaluate.outcome import exit_code
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import evaluate
from mkgen.evaluate.wording import describe
from mkgen.files import is_inside
from mkgen.program import Program
from mkgen.record import EvidenceKind, Record, Status


@click.command("verify")
@click.argument("directory", metavar="DIR")
@options.together(
    options.require,
    options.device,
    options.toolchain,
    options.seed,
    options.timeout,
    options.json_output,
)
def command(
    directory: str,
    required: tuple[str, ...],
    on_device: bool,
    seed: int,
    timeout: float | None,
    as_json: bool,
) -> int:
    """Evaluate the package DIR again from its record, and say what differs.

    The same task, templates and parameters; nothing in DIR is changed. It runs the task's source
    that the package holds: verify only what you would run.

    \b
    mkgen verify conv2d-hip-gfx942 --require device
    """
    place = Path(directory)
    old = read_record(place)
    settings = settings_of(seed=seed, timeout=timeout, required=required, on_device=on_device)
    with Workers() as workers, progress(not as_json) as advance:
        advance("verifying", 0, 1)
        generator, candidate = candidate_of(old)
        program = candidate.program(generator.workload)
        new = evaluate(candidate, workers, settings)
    faults, notes = differences(place, old, new, program)
    title = target_limits(generator.backend, old.target).title
    say(describe(new, title, directory).rstrip())
    for fault in faults:
        say(f"differs    {fault}")
    for note in notes:
        say(f"note       {note}")
    if not (faults or notes):
        say("nothing differs from the package")
    if as_json:
        emit(record_object(new) | {"differences": faults, "notes": notes, "directory": directory})
    code = exit_code([new], [EvidenceKind(kind) for kind in required])
    # a package that is not what its record says has failed, whatever a fresh kernel does
    return EXIT_FAILED if faults and code in (0, 3) else code


def differences(
    directory: Path, old: Record, new: Record, program: Program
) -> tuple[list[str], list[str]]:
    """What of a package is not as its record says, and what is only worth knowing."""
    faults: list[str] = []
    notes: list[str] = []
    if new.text_sha != old.text_sha:
        faults.append(
            f"text: {old.text_sha[:12]} in the record, {new.text_sha[:12]} from this mkgen "
            f"(the record's is {old.mkgen_version})"
        )
    for source in program.sources if directory.is_dir() else ():
        file = directory / source.name
        if not file.is_file():
            faults.append(f"{source.name}: not in the package")
        elif source.preamble + source.sizes + source.body not in file.read_text(errors="replace"):
            faults.append(f"{source.name}: the file is not the text that was evaluated")
    for name in old.files if directory.is_dir() else ():
        if not is_inside(directory, name):
            faults.append(f"{name[:200]!r}: named in the record, not a path in the package")
        elif not (directory / name).is_file():
            faults.append(f"{name}: named in the record, not in the package")
    for artifact in old.artifacts if directory.is_dir() else ():
        inside = is_inside(directory, artifact.path)
        file = directory / artifact.path
        if inside and file.is_file() and file_sha(file) != artifact.sha:
            faults.append(f"{artifact.path}: the file is not the artifact of the record")
    _artifacts(old, new, faults, notes)
    if new.status is not old.status and new.status is not Status.EVIDENCE_MISSING:
        faults.append(f"verdict: {old.status.value} in the record, {new.status.value} now")
    return faults, notes


def _artifacts(old: Record, new: Record, faults: list[str], notes: list[str]) -> None:
    for before, now in zip(old.artifacts, new.artifacts, strict=False):
        if before.sha == now.sha:
            continue
        text = f"artifact for {before.arch}: {before.sha[:12]} in the record, {now.sha[:12]} now"
        if before.compiler_sha == now.compiler_sha:
            faults.append(f"{text}, by the same compiler")
        else:
            notes.append(f"{text}: compiled by {before.compiler} then, by {now.compiler} now")
