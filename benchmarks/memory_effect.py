"""Pass@1 with and without memory: the same questions to the same model, or two runs made before.

    python benchmarks/memory_effect.py --target hip:gfx942 --task 'sum*' -- --model M --base-url U
    python benchmarks/memory_effect.py --runs runs/without runs/with

The first form runs `mkgen eval --generator llm` twice, with --no-memory and with --memory, and
passes on what stands behind `--`; with `--replay` there, nothing is paid for. The first answer to
each question counts, before any feedback.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from mkgen.llm.dataset import generated_records
from mkgen.llm.pass_at_k import pass_at_k
from mkgen.record import Status

Counts = dict[tuple[str, str], tuple[int, int]]
"""(task, target) -> answers, passes."""


def counts(run: Path) -> tuple[Counts, set[str]]:
    """Of the first answers in `run`, each once; and the hashes of their prompts."""
    answers: dict[tuple[str, str], dict[tuple[str, int], bool]] = defaultdict(dict)
    for record in generated_records(run):
        made = record.generation
        if made is None or made.round or made.parent:
            continue
        place = (made.prompt_sha, made.sample)
        of_task = answers[record.task, str(record.target)]
        # of parameters that were swept, one set that passes is enough
        of_task[place] = of_task.get(place, False) or record.status is Status.PASS
    prompts = {sha for found in answers.values() for sha, _ in found}
    return {k: (len(v), sum(v.values())) for k, v in answers.items()}, prompts


def compare(without: Counts, with_memory: Counts) -> dict[str, object]:
    """Pass@1 of the questions that both have, and how sure the difference is.

    `standard_error`: of the mean difference over questions, which are the sample.
    """
    common = sorted(without.keys() & with_memory.keys())
    pairs = [(pass_at_k(*without[q], 1), pass_at_k(*with_memory[q], 1)) for q in common]
    differences = [after - before for before, after in pairs]
    count = len(pairs)
    mean = sum(differences) / count if count else 0.0
    spread = sum((d - mean) ** 2 for d in differences) / (count - 1) if count > 1 else 0.0
    return {
        "questions": count,
        "without": sum(before for before, _ in pairs) / count if count else None,
        "with": sum(after for _, after in pairs) / count if count else None,
        "difference": mean if count else None,
        "standard_error": math.sqrt(spread / count) if count > 1 else None,
        "better": sum(d > 0 for d in differences),
        "worse": sum(d < 0 for d in differences),
        "rows": [
            {"task": task, "target": target, "without": before, "with": after}
            for (task, target), (before, after) in zip(common, pairs, strict=True)
        ],
    }


def generate(directory: Path, tasks: Sequence[str], targets: Sequence[str], rest: Sequence[str]):
    """Both runs, the one without memory first: it is not to learn from the other."""
    named = [part for task in tasks for part in ("--task", task)]
    named += [part for target in targets for part in ("--target", target)]
    runs = directory / "without", directory / "with"
    for run, flag in zip(runs, ("--no-memory", "--memory"), strict=True):
        command = [sys.executable, "-m", "mkgen", "eval", "--generator", "llm", flag, "--resume"]
        done = subprocess.run([*command, "--out", str(run), *named, *rest])
        if done.returncode not in (0, 1):  # 1: some answers fail, which is what is counted
            raise SystemExit(done.returncode)
    return runs


def main() -> None:
    own, rest = sys.argv[1:], []
    if "--" in own:
        at = own.index("--")
        own, rest = own[:at], own[at + 1 :]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", nargs=2, type=Path, metavar=("WITHOUT", "WITH"))
    parser.add_argument("--task", action="append", default=[])
    parser.add_argument("--target", action="append", default=[])
    parser.add_argument("--out", type=Path, default=Path("runs/memory-effect"))
    arguments = parser.parse_args(own)
    if not arguments.runs and not arguments.target:
        parser.error("name --runs, or a --target and what chooses the model behind --")
    runs = arguments.runs or generate(arguments.out, arguments.task, arguments.target, rest)
    (without, plain), (with_memory, noted) = map(counts, runs)
    result = compare(without, with_memory)
    result["prompts_that_differ"] = len(noted - plain)
    print(json.dumps(result, indent=2))
    if not result["questions"]:
        raise SystemExit("the runs have no question in common")


if __name__ == "__main__":
    main()
