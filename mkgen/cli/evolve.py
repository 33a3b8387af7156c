"""`mkgen evolve`: a language model's kernels, the best of each kind kept and varied further."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mkgen.cli import llm_options, options
from mkgen.cli.llm_options import Asking
from mkgen.cli.present import emit, progress, say, table
from mkgen.cli.request import precision_of, resolve_target, resolve_task, settings_of
from mkgen.errors import EXIT_FAILED, UserError
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.store import RunStore
from mkgen.files import atomic_write
from mkgen.llm.archive import Archive, Entry
from mkgen.llm.evolve import Effort, evolve
from mkgen.llm.folder import Folder
from mkgen.llm.judging import Judge, Judged
from mkgen.llm.memory import Memory
from mkgen.llm.placing import text_judge
from mkgen.llm.plot import COLUMNS, summary, svg, table_rows
from mkgen.llm.prompt import Form, Prompt, Strategy
from mkgen.llm.provider import Reply
from mkgen.llm.providers import provider_of, recorded_provider
from mkgen.llm.question import Question


@click.command("evolve")
@options.together(
    click.option("--task", "name", required=True, metavar="NAME|FILE.py[::NAME]",
                 help="A task of mkgen's (mkgen tasks lists them), or your own file."),
    click.option("--target", metavar="BACKEND:ARCH[@DEVICE]", help="hip:gfx942, cuda:sm_90a@h200."),
    click.option("--backend", metavar="NAME", help="Instead of --target: its usual arch."),
    click.option("--out", metavar="DIR", help="Where it lives (./TASK-BACKEND-ARCH-evolution); "
                 "the same command goes on from there."),
    click.option("--evaluations", type=click.IntRange(min=1), default=60, show_default=True,
                 help="Texts to evaluate in all, earlier commands' and seeds included."),
    click.option("--seconds", type=click.FloatRange(min=0, min_open=True),
                 help="No step begins after so many."),
    click.option("--islands", type=click.IntRange(1, 64), default=3, show_default=True,
                 help="Populations that exchange kernels now and then."),
    options.shape,
    options.dtype,
    options.precision,
    options.require,
    options.device,
    options.toolchain,
    options.seed,
    options.jobs(1),
    options.timeout,
    *llm_options.PROMPTING,
    options.json_output,
)  # fmt: skip
@llm_options.asking
def command(
    name: str,
    target: str | None,
    backend: str | None,
    out: str | None,
    evaluations: int,
    seconds: float | None,
    islands: int,
    shapes: tuple[str, ...],
    dtype: str | None,
    precision: str | None,
    seed: int,
    jobs: int,
    asking: Asking,
    as_json: bool,
    **given: Any,
) -> int:
    """Let a language model vary kernels; keep the best of each kind.

    Kinds are memory tier x parallel decomposition x arithmetic unit, as the text shows them. It
    starts from the templates' best kernels. DIR holds the journal, records, exchanges and a plot.

    \b
    mkgen evolve --task softmax --backend hip --llm-cmd 'ollama run qwen3-coder'
    mkgen evolve --task matmul --target cuda:sm_90a@h200 --require timed --model M --base-url URL
    """
    plugin, resolved = resolve_target(target, backend)
    task = precision_of(resolve_task(name, shapes, dtype), precision)
    directory = Path(out or f"{task.name}-{resolved.backend}-{resolved.arch}-evolution")
    if isinstance(provider_of(asking.provider, say), Folder):
        raise UserError("--answers: an evolution asks one question after the other; use --llm-cmd")
    directory.mkdir(parents=True, exist_ok=True)
    provider = recorded_provider(asking.provider, directory / "exchanges", say)
    settings = settings_of(seed=seed, **given)
    question = Question(task, plugin, resolved, Strategy(asking.strategy), Form(asking.form))
    notes = Memory().notes(task, plugin) if asking.memory else ()
    effort = Effort(evaluations, seconds or float("inf"), seed, islands)
    store = RunStore(directory)
    try:
        with Workers(jobs, hidden=[directory]) as workers, progress(not as_json) as advance:
            judge = Judge(workers, settings)

            def judged(prompt: Prompt, reply: Reply, *, sample: int, parent: str) -> Judged:
                return judge.judge(
                    prompt, plugin, reply, sample=sample, parent=parent, provider=provider.name
                )

            made = evolve(
                question, provider, judged,
                text_judge(task, plugin, resolved, workers, settings),
                directory, effort, notes=notes, keep=store.append,
                progress=lambda archive: advance("evolving", len(archive.entries), evaluations),
            )  # fmt: skip
    finally:
        store.close()
    best = made.archive.best()
    if best is not None:
        atomic_write(directory / f"best{plugin.extension}", best.text)
    return _show(made.archive, directory, f"{task.name} on {resolved}", made.stopped, as_json)


def _show(archive: Archive, directory: Path, title: str, stopped: str, as_json: bool) -> int:
    atomic_write(directory / "archive.svg", svg(archive, title))
    best = archive.best()
    if as_json:
        emit({
            "stopped": stopped,
            "coverage": archive.coverage(),
            "best": _entry(best) if best else None,
            "elites": [_entry(e) for e in archive.elites().values()],
        })  # fmt: skip
    table(COLUMNS, table_rows(archive), title)
    for line in summary(archive):
        say(line)
    say(f"stopped: {stopped}; {directory}/archive.svg")
    return 0 if best is not None else EXIT_FAILED


def _entry(entry: Entry) -> dict[str, Any]:
    return entry.model_dump(mode="json")
