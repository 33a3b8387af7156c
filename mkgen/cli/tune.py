"""`mkgen tune`: measures parameters on a device, and keeps the best for `gen` and `eval`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from mkgen.cli import options
from mkgen.cli.explaining import explain
from mkgen.cli.present import emit, progress, say, table
from mkgen.cli.request import precision_of, resolve_target, resolve_task, settings_of
from mkgen.codegen.candidate import Generator
from mkgen.errors import EXIT_FAILED
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.wording import duration
from mkgen.record import Status
from mkgen.tune.journal import Journal, Trial
from mkgen.tune.search import STRATEGIES
from mkgen.tune.tuning import Effort, Tuned, failures, tune
from mkgen.tune.winners import Winner, Winners, default_winners_directory

#: Candidates where neither --trials nor --budget says how many.
_TRIALS = 32
_SHOWN = 10


@click.command("tune")
@options.together(
    click.option("--task", "name", required=True, metavar="NAME|FILE.py[::NAME]",
                 help="A task of mkgen's (mkgen tasks lists them), or your own file."),
    click.option("--target", metavar="BACKEND:ARCH[@DEVICE]", help="cuda:sm_90a@h200, opencl:cpu."),
    click.option("--backend", metavar="NAME", help="Instead of --target: its usual arch."),
    options.shape,
    options.dtype,
    options.precision,
    click.option("--budget", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
                 help="Stop after this long, with the best until then."),
    click.option("--trials", type=click.IntRange(min=1),
                 help=f"Candidates to measure at most ({_TRIALS}; with --budget no limit)."),
    click.option("--strategy", type=click.Choice(list(STRATEGIES)), default="guided",
                 show_default=True, help="Which candidates to measure next."),
    click.option("--seed", default=0, show_default=True, help="Seed of inputs and of the search."),
    options.jobs(2),
    options.timeout,
    click.option("--out", metavar="DIR", help="Where trials.jsonl and winners/ go (the user's "
                 "data directory, where gen and eval look)."),
    click.option("--explain", "explained", is_flag=True,
                 help="Show what the model says of the candidates."),
    options.json_output,
)  # fmt: skip
def command(
    name: str,
    target: str | None,
    backend: str | None,
    shapes: tuple[str, ...],
    dtype: str | None,
    precision: str | None,
    budget: float | None,
    trials: int | None,
    strategy: str,
    seed: int,
    jobs: int,
    timeout: float | None,
    out: str | None,
    explained: bool,
    as_json: bool,
) -> int:
    """Measure parameter sets on the device here; gen and eval use the best from then on.

    Every measurement is stored at once: the same command after an interruption goes on.

    \b
    mkgen tune --task softmax --target cuda:sm_90a@h200 --budget 60
    mkgen tune --task matmul --target opencl:cpu --trials 12 --seed 7
    """
    plugin, resolved = resolve_target(target, backend)
    task = precision_of(resolve_task(name, shapes, dtype), precision)
    generator = Generator(task, plugin, resolved, task.precision)
    place = Path(out) if out else default_winners_directory().parent
    winners = Winners(place / "winners" if out else None)
    if trials is None and budget is None:
        trials = _TRIALS
    settings = settings_of(seed=seed, timeout=timeout, required=(), on_device=True)
    journal = Journal(place / "trials.jsonl")
    try:
        with Workers(jobs) as workers, progress(not as_json) as advance:
            tuned = tune(
                generator, workers, settings, Effort(trials, budget, seed, strategy), journal,
                winners, progress=advance,
            )  # fmt: skip
    finally:
        journal.close()
    if explained:
        explain(generator, tuned.spaces)
    if as_json:
        emit(_document(tuned, journal.path, winners))
    _show(generator, tuned, journal.path)
    return 0 if tuned.winner else EXIT_FAILED


def _show(generator: Generator, tuned: Tuned, journal: Path) -> None:
    best = best_trials(tuned.trials)
    rows = [
        [_values(t.parameters), ", ".join(t.templates), _milliseconds(t), str(len(t.seconds)),
         f"{t.estimate_seconds * 1e3:.4g}"]
        for t in best[:_SHOWN]
    ]  # fmt: skip
    if rows:
        heads = ("parameters", "templates", "median (ms)", "samples", "model (ms)")
        table(heads, rows)
    for trial in failures(tuned.trials)[:_SHOWN]:
        say(f"not right  {_values(trial.parameters)}: {trial.status.value}: {trial.reason}")
    legal = sum(len(space.points) for space in tuned.spaces)
    tried = len({t.variant for t in tuned.trials})
    ended = "" if tuned.complete else "; the budget ended the search"
    say(f"{tried} of {legal} candidates measured{ended}")
    if tuned.known:
        say(f"{tuned.known} of {len(tuned.trials)} measurements are of an earlier command")
    say(f"trials in {journal}")
    if tuned.winner is None:
        say("no candidate was seen to be right in time; nothing is kept")
        return
    verb = "still best" if tuned.kept else "best"
    say(f"{verb}: {_values(tuned.winner.parameters)}, {winner_text(tuned.winner)}")
    say(f"gen and eval for {generator.target} use it for sizes of {tuned.winner.workload_class}")


def best_trials(trials: Sequence[Trial]) -> list[Trial]:
    """Right candidates, fastest first, each by its trial with the most samples."""
    most: dict[str, Trial] = {}
    for trial in trials:
        if trial.status is Status.PASS:
            old = most.get(trial.variant)
            most[trial.variant] = trial if old is None or old.samples < trial.samples else old
    wrong = {t.variant for t in failures(trials)}
    right = [t for t in most.values() if t.variant not in wrong]
    return sorted(right, key=lambda t: (-t.samples, statistics.median(t.seconds)))


def winner_text(winner: Winner) -> str:
    """`2.31 ms on NVIDIA H200, median of 21 samples`."""
    return (
        f"{duration(winner.seconds)} on {winner.device}, median of {winner.samples} samples"
    )  # fmt: skip


def _milliseconds(trial: Trial) -> str:
    return f"{statistics.median(trial.seconds) * 1e3:.4g}"


def _values(parameters: dict[str, Any]) -> str:
    return " ".join(f"{k}={v}" for k, v in parameters.items()) or "none"


def _document(tuned: Tuned, journal: Path, winners: Winners) -> dict[str, Any]:
    return {
        "winner": tuned.winner.model_dump(mode="json") if tuned.winner else None,
        "kept": tuned.kept,
        "complete": tuned.complete,
        "known": tuned.known,
        "trials": [t.model_dump(mode="json") for t in tuned.trials],
        "legal": sum(len(space.points) for space in tuned.spaces),
        "journal": str(journal),
        "winners": str(winners.directory),
    }
