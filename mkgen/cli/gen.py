"""`mkgen gen`: one task on one target, as a package."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from mkgen.cli import llm_options, options
from mkgen.cli.explaining import explain, rows_of
from mkgen.cli.llm_options import Asking
from mkgen.cli.placing import check_place, place
from mkgen.cli.present import Advance, emit, progress, record_object, say
from mkgen.cli.request import precision_of, resolve_target, resolve_task, settings_of
from mkgen.codegen.backend import Backend
from mkgen.codegen.candidate import Generator, TemplateCandidate
from mkgen.errors import MissingError, UserError
from mkgen.evaluate.limits import target_limits
from mkgen.evaluate.outcome import exit_code
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import Settings
from mkgen.evaluate.seen import Seen
from mkgen.evaluate.store import parse
from mkgen.evaluate.wording import describe, parameters_text
from mkgen.record import EvidenceKind, Record, Status
from mkgen.target import Target
from mkgen.task import Task
from mkgen.tune.generate import Generated, Warming, generate
from mkgen.tune.space import KernelSpace, spaces
from mkgen.tune.winners import Winners


@click.command("gen")
@options.together(
    click.option("--task", "name", required=True, metavar="NAME|FILE.py[::NAME]",
                 help="A task of mkgen's (mkgen tasks lists them), or your own file."),
    click.option("--target", metavar="BACKEND:ARCH[@DEVICE]", help="hip:gfx942, cuda:sm_90a@h200."),
    click.option("--backend", metavar="NAME", help="Instead of --target: its usual arch."),
    options.shape,
    options.dtype,
    options.precision,
    options.require,
    options.device,
    options.sanitize,
    options.toolchain,
    options.seed,
    options.jobs(2),
    options.timeout,
    click.option("--out", metavar="DIR", help="Where to write it (./TASK-BACKEND-ARCH)."),
    click.option("--explain", "explained", is_flag=True,
                 help="Show what the model says of the candidates, and why most of them lose."),
    click.option("--print", "show_source", is_flag=True,
                 help="Show the source as well (on stderr with --json)."),
    *llm_options.generator(rounds=6),
    options.json_output,
)  # fmt: skip
@llm_options.asking
def command(**given: Any) -> int:
    """Generate a kernel for one target, check it, and write it as a package.

    \b
    mkgen gen --task conv2d --backend hip
    mkgen gen --task softmax --target cuda:sm_90a --shape x=512,1000 --out softmax-cuda
    mkgen gen --generator llm --task softmax --backend hip --llm-cmd 'ollama run qwen3-coder'
    """
    chosen = Choices(**given)
    if chosen.generator != "llm":
        chosen.asking.refuse_unused("--generator llm")
    elif chosen.explained:
        raise UserError("--explain shows choices of templates; a model's text has none")
    plugin, resolved = resolve_target(chosen.target, chosen.backend)
    stem = Path(chosen.name.partition("::")[0]).stem
    early = Path(chosen.out or f"{stem}-{resolved.backend}-{resolved.arch}")
    check_place(early)
    with Workers(chosen.jobs) as workers, progress(not chosen.as_json) as advance:
        made, directory = _make(workers, advance, plugin, resolved, chosen)
    choice = _spaces(made) if chosen.explained else ()
    _show(made, directory, plugin, resolved, chosen.show_source, chosen.as_json, choice)
    return exit_code([made.record], [EvidenceKind(kind) for kind in chosen.required])


@dataclass(frozen=True)
class Choices:
    """What the command line says."""

    name: str
    target: str | None
    backend: str | None
    shapes: tuple[str, ...]
    dtype: str | None
    precision: str | None
    required: tuple[str, ...]
    on_device: bool
    sanitize: bool
    seed: int
    jobs: int
    timeout: float | None
    out: str | None
    explained: bool
    show_source: bool
    as_json: bool
    generator: str
    asking: Asking

    def task(self) -> Task:
        """The task, at the sizes and with the precision that are asked for. UserError."""
        return precision_of(resolve_task(self.name, self.shapes, self.dtype), self.precision)

    def settings(self) -> Settings:
        """How to evaluate."""
        return settings_of(
            seed=self.seed, timeout=self.timeout, required=self.required,
            on_device=self.on_device, sanitize=self.sanitize,
        )  # fmt: skip


def _make(
    workers: Workers, advance: Advance, plugin: Backend, target: Target, chosen: Choices
) -> tuple[Generated, Path]:
    """Generates, and writes the package of a pass."""
    advance("starting", 0, 1)
    warming = Warming(workers, plugin)
    try:
        task = chosen.task()
        directory = Path(chosen.out or f"{task.name}-{target.backend}-{target.arch}")
        check_place(directory)
        writer = _writer()
        if chosen.generator == "llm":
            from mkgen.cli.llm_run import generate_model

            made = generate_model(
                chosen.asking, (task, plugin, target), workers, chosen.settings(), advance
            )
        else:
            generator = Generator(task, plugin, target, task.precision)
            made = generate(
                generator, workers, chosen.settings(), progress=advance, winners=Winners()
            )
        if made.record.status is not Status.PASS:
            return made, directory
        advance("writing", 1, 1)
        place(
            directory,
            lambda new: writer(new, made.candidate, made.program, made.record, made.artifact),
        )
        return made, directory
    finally:
        warming.finish()


def _writer() -> Callable[..., tuple[str, ...]]:
    try:
        module = importlib.import_module("mkgen.package")
    except ModuleNotFoundError as error:
        raise MissingError(f"{error.name} is not installed; reinstall mkgen") from error
    writer: Callable[..., tuple[str, ...]] = module.write_package
    return writer


def _show(
    made: Generated,
    directory: Path,
    plugin: Backend,
    target: Target,
    show_source: bool,
    as_json: bool,
    choice: Sequence[KernelSpace],
) -> None:
    record = made.record
    passed = record.status is Status.PASS
    if passed:
        written = parse((directory / "record.json").read_bytes())
        Seen().add(written.seal)
        record = written.record
    if as_json:
        extra: dict[str, Any] = {
            "directory": str(directory) if passed else None,
            "legal_choices": made.legal,
            "tried": [r.status.value for r in made.tried],
        }
        if choice:
            extra["explain"] = rows_of(choice)
        emit(record_object(record, directory if passed else None) | extra)
    elif show_source and made.program:
        sys.stdout.write("\n".join(source.text for source in made.program.sources))
    if as_json and show_source and made.program:
        say("\n".join(source.text for source in made.program.sources))
    title = target_limits(plugin, target).title
    say(describe(record, title, str(directory)).rstrip())
    say(_story(made, directory if passed else None, record))
    if isinstance(made.candidate, TemplateCandidate) and choice:
        explain(_generator(made.candidate), choice)


def _spaces(made: Generated) -> tuple[KernelSpace, ...]:
    """What the choice was made from; nothing where there was no choice."""
    candidate = made.candidate
    return tuple(spaces(_generator(candidate))) if isinstance(candidate, TemplateCandidate) else ()


def _generator(candidate: TemplateCandidate) -> Generator:
    c = candidate
    return Generator(c.task, c.backend, c.target, c.precision)


def _story(made: Generated, directory: Path | None, record: Record) -> str:
    lines = [] if record.variant is None else [_parameters(made, record)]
    if record.variant is not None and record.estimate_reason:
        lines.append(f"model      {record.estimate_reason}")
    if record.generation is not None:
        by = record.generation
        lines.append(
            f"written by {by.model} ({by.provider}), sample {by.sample}, round {by.round}; "
            f"strategy {by.strategy}, shown {by.exemplar or 'nothing'}"
        )
    for failed in made.tried:
        if failed.status is not Status.PASS and failed.reason != record.reason:
            shown = failed.variant.key if failed.variant else "a choice"
            lines.append(f"not taken  {shown}: {failed.status.value}: {failed.reason}")
    if directory is None:
        lines.append("nothing was written")
    else:
        lines.append(f"files      {directory}/")
        lines += [f"             {name}" for name in record.files]
    return "\n".join(lines)


def _parameters(made: Generated, record: Record) -> str:
    assert record.variant is not None
    values = " ".join(f"{k}={v}" for k, v in record.parameters.items())
    how = (
        f"a model chose them from {made.legal} legal {'set' if made.legal == 1 else 'sets'}, "
        "no speed is claimed"
    )
    if record.generation is not None:
        how = "no speed is claimed"
    elif record.parameter_source is not None and record.parameter_source.kind != "model":
        how = parameters_text(record.parameter_source)
    return f"parameters {values or 'none'} ({', '.join(record.variant.templates)}); {how}"
