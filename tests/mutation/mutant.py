"""Mutants as candidates of the protocol, and the programs they are made from."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from mkgen.codegen.backend import Backend
from mkgen.codegen.candidate import Generator, Option, TemplateCandidate
from mkgen.codegen.registry import backend_named
from mkgen.errors import UnsupportedError
from mkgen.evaluate.programs import Programs
from mkgen.program import PrecisionClass, Program
from mkgen.target import Target
from mkgen.task import Task, Workload, find_task, task_files

from .mutators import KINDS, Mutation, mutations

BACKENDS = ("cuda", "hip", "opencl", "pallas", "sycl", "triton")
_SEARCHED = 200


@dataclass(frozen=True)
class Mutant:
    """A candidate whose text has one fault, the same at every size."""

    base: TemplateCandidate
    mutation: Mutation
    task: Task
    """The base's, or the same with fewer sizes."""
    origin: str = "mutant"

    @property
    def backend(self) -> Backend:
        """What compiles and runs it."""
        return self.base.backend

    @property
    def target(self) -> Target:
        """For what it is compiled."""
        return self.base.target

    @property
    def precision(self) -> PrecisionClass:
        """The rounding the unchanged program is allowed."""
        return self.base.precision

    @property
    def key(self) -> tuple[str, str, str]:
        """Task, backend, description: what `equivalent.toml` names."""
        return self.base.task.name, self.backend.name, self.mutation.description

    def program(self, workload: Workload) -> Program:
        """The base's program with the changed line."""
        program = self.base.program(workload)
        kernels, *others = program.sources
        changed = kernels.model_copy(update={"body": self.mutation.apply(kernels.body)})
        return program.model_copy(update={"sources": (changed, *others)})

    def first_check_only(self) -> Mutant:
        """The same with the first check size alone: for executors that compile every size."""
        sizes = {"check": self.task.check[:1], "heldout": ()}
        return replace(self, task=self.task.model_copy(update=sizes))


def bases(backend_name: str, task_name: str, arch: str = "") -> list[TemplateCandidate]:
    """Up to two unchanged candidates: the first legal one that its check sizes cover, and the
    first that differs from it in a yes-or-no parameter, else the next. For the backend's default
    arch, or for `arch`.
    """
    backend = backend_named(backend_name)
    target = Target(backend=backend_name, arch=arch or backend.default_arch)
    generator = Generator(find_task(task_name), backend, target)
    rows = [_fit(generator, generator.options(kernel)) for kernel in generator.kernels]
    first = next(filter(_covered, _in_step(generator, rows)), None)
    if first is None:
        raise UnsupportedError(f"{task_name} on {backend_name}: no parameters fit the check sizes")
    others = [[o for o in row if _flags(o) != _flags(row[0])] or row[:1] for row in rows]
    second = next(filter(_covered, _in_step(generator, others)), first)
    return [first] if second.request.parameters == first.request.parameters else [first, second]


def _fit(generator: Generator, options: Sequence[Option]) -> list[Option]:
    """Those that small sizes can prove; of them those with many waves, where there are any."""
    shown = [option for option in options if option.shown]
    return [option for option in shown if _many_waves(generator, option)] or shown


def _in_step(generator: Generator, rows: Sequence[Sequence[Option]]) -> Iterator[TemplateCandidate]:
    """Every kernel's n-th option together: all combinations of many kernels would be too many."""
    for place in range(min(_SEARCHED, max((len(row) for row in rows), default=0))):
        if all(rows):
            yield generator.chosen([row[min(place, len(row) - 1)] for row in rows])


def _many_waves(generator: Generator, option: Option) -> bool:
    # With one wave a work-group needs no barrier, with two its loop over waves has one round.
    threads = option.parameters.get("THREADS")
    lanes = generator.backend.archs[generator.target.arch].sub_group
    return "SHUFFLE" not in _flags(option) or not isinstance(threads, int) or threads >= 4 * lanes


def _flags(option: Option) -> dict[str, bool]:
    return {k: v for k, v in option.parameters.items() if isinstance(v, bool)}


def _covered(candidate: TemplateCandidate) -> bool:
    first, *rest = candidate.task.workloads()
    try:
        bench = candidate.program(first)
        small = tuple((workload, candidate.program(workload)) for workload in rest)
    except UnsupportedError:
        return False
    same = all(p.text_sha == bench.text_sha for _, p in small)
    return same and not Programs(first, bench, small).uncovered()


def every_mutant(backends: Sequence[str] = BACKENDS, tasks: Sequence[str] = ()) -> Iterator[Mutant]:
    """Each mutant of each base; one of several with the same description on a task is kept."""
    for backend_name in backends:
        for task_name in tasks or task_files():
            yield from mutants_of(backend_name, task_name)


def mutants_of(backend_name: str, task_name: str, arch: str = "") -> Iterator[Mutant]:
    """The mutants of one task on one backend, as `bases`. UnsupportedError as from there."""
    seen: set[str] = set()
    for base in bases(backend_name, task_name, arch):
        program = base.program(base.task.workloads()[1])
        body = program.sources[0].body
        for mutation in mutations(body, base.backend.language, program.constants):
            if mutation.description not in seen:
                seen.add(mutation.description)
                yield Mutant(base, mutation, base.task)


def draw(
    seed: int, count: int, per_cell: int, backends: Sequence[str] = BACKENDS, match: str = ""
) -> Iterator[list[Mutant]]:
    """About `count` mutants over all tasks, by cells: up to `per_cell` of one task on one backend.

    Backends take turns, so that the first cells are one of each task; of a cell's mutants those
    of the kinds drawn least so far come first. Only the cells reached are rendered. `match` is a
    text that task, backend or description must hold.
    """
    drawn: Counter[str] = Counter()
    made = 0
    for backend_name, task_name in _cells(seed, backends):
        if made >= count:
            return
        try:
            all_of_cell = mutants_of(backend_name, task_name)
            left = [m for m in all_of_cell if match in " ".join(m.key)]
        except UnsupportedError:
            continue
        random.Random(f"{seed} {backend_name} {task_name}").shuffle(left)
        cell: list[Mutant] = []
        while left and len(cell) < min(per_cell, count - made):
            rarest = min(left, key=lambda m: drawn[m.mutation.kind])
            left.remove(rarest)
            drawn[rarest.mutation.kind] += 1
            cell.append(rarest)
        made += len(cell)
        if cell:
            yield cell


def _cells(seed: int, backends: Sequence[str]) -> Iterator[tuple[str, str]]:
    tasks = sorted(task_files())
    random.Random(seed).shuffle(tasks)
    for turn in range(len(backends)):
        for place, task_name in enumerate(tasks):
            yield backends[(place + turn) % len(backends)], task_name


def sample(mutants: Iterable[Mutant], seed: int, per_kind: int) -> list[Mutant]:
    """`per_kind` mutants of each kind on each backend, the tasks in turn; the same for a seed."""
    groups: dict[tuple[str, str], list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        groups[mutant.backend.name, mutant.mutation.kind].append(mutant)
    chosen: list[Mutant] = []
    for (backend_name, kind), group in sorted(groups.items(), key=lambda g: _place(*g[0])):
        drawn = random.Random(f"{seed} {backend_name} {kind}")
        by_task: dict[str, list[Mutant]] = defaultdict(list)
        for mutant in group:
            by_task[mutant.task.name].append(mutant)
        queues = list(by_task.values())
        drawn.shuffle(queues)
        for queue in queues:
            drawn.shuffle(queue)
        rounds = max(len(queue) for queue in queues)
        order = [queue[i] for i in range(rounds) for queue in queues if i < len(queue)]
        chosen.extend(order[:per_kind])
    return chosen


def _place(backend_name: str, kind: str) -> tuple[str, int]:
    return backend_name, KINDS.index(kind)
