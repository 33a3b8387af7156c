"""Exemplars: kernels of our own templates, written as a native file, that a prompt can show.

They are there for every category on every backend because templates make them; each is checked by
the same protocol as an answer (`make acceptance` evaluates one for every pair).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mkgen.codegen.backend import Backend
from mkgen.codegen.candidate import Generator, TemplateCandidate, lowered
from mkgen.document import content_hash
from mkgen.errors import MkgenError, UnsupportedError
from mkgen.foreign.native_write import native_text
from mkgen.ir.fusion import fuse
from mkgen.ir.nest import OPERATIONS, Apply, Graph, Indirect, Load, walk_value
from mkgen.program import PrecisionClass
from mkgen.target import Target
from mkgen.task import Task, find_task, task_files
from mkgen.tune.choose import rank, rank_kernel

#: What the strategy with one exemplar for all shows; the second one to those who ask for the first.
FIXED = ("bias_gelu", "softmax")
#: A longer one teaches little more and takes the place of the question.
MAX_CHARACTERS = 12_000
_ALTERNATIVES = 3
_SEEN_OPERATIONS = 3
_WORDS = frozenset(OPERATIONS) | {
    "parallel", "reduce", "scan", "sum", "prod", "max", "min", "float32", "float64", "float16",
    "bfloat16", "int64", "int32", "bool",
}  # fmt: skip


@dataclass(frozen=True)
class Exemplar:
    """One template's kernel as a native file."""

    task: Task
    target: Target
    text: str
    likeness: float
    """To the task that is asked for: 0 (nothing in common) to 1."""

    @property
    def sha(self) -> str:
        """Hash of its text."""
        return content_hash(self.text)


def exemplar_of(task: Task, backend: Backend, target: Target) -> Exemplar:
    """The nearest exemplar of `task`'s category, never `task` itself nor the same computation.

    Near is what has the same forms of kernels, operations and dtype. UnsupportedError when the
    category has none on this backend.
    """
    for other, likeness in _nearest(task, backend, target, task.category):
        made = _made(other, backend, target, likeness)
        if made is not None:
            return made
    raise UnsupportedError(f"no exemplar of category {task.category} on {target}")


def fixed_exemplar(task: Task, backend: Backend, target: Target) -> Exemplar:
    """The exemplar that is the same for every task: bias_gelu. UnsupportedError."""
    own = computation(lowered(task))
    for name in FIXED:
        other = find_task(name)
        if other.name != task.name and computation(lowered(other)) != own:
            made = _made(other, backend, target, 0.0)
            if made is not None:
                return made
    raise UnsupportedError(f"no exemplar on {target}")


def exemplars(category: str, backend: Backend, target: Target) -> Iterator[Exemplar]:
    """Every exemplar of a category, in the order of the tasks' names."""
    for other in _tasks(category):
        made = _made(other, backend, target, 0.0)
        if made is not None:
            yield made


def likeness(a: Counter[str], b: Counter[str]) -> float:
    """Weighted Jaccard index of two tasks' features: 0 to 1."""
    names = a.keys() | b.keys()
    larger = sum(max(a[n], b[n]) for n in names)
    return sum(min(a[n], b[n]) for n in names) / larger if larger else 0.0


def features(graph: Graph) -> Counter[str]:
    """What a task's kernels are made of, with weights: forms first, then operations and dtypes."""
    found: Counter[str] = Counter()
    for kernel in fuse(graph):
        found[f"form {kernel.kind}"] += 4
        found[f"tag {kernel.tag}"] += 2
    for nest in graph.flat_nests():
        found[f"combine {nest.store.combine}"] += 2
        found[f"axes {len(nest.axes)}"] += 1
        for value in walk_value(nest.store.value):
            if isinstance(value, Apply):
                found[f"operation {value.operation}"] += 1
            if isinstance(value, Load) and any(isinstance(i, Indirect) for i in value.index):
                found["indirect"] += 2
            if isinstance(value, Load) and value.guard:
                found["guard"] += 1
    for name in found:
        if name.startswith("operation "):
            found[name] = min(found[name], _SEEN_OPERATIONS)
    for info in graph.tensors.values():
        found[f"dtype {info.dtype}"] = 2
    return found


def computation(graph: Graph) -> str:
    """The nests without the names of tensors, axes and sizes: equal for the same computation."""
    known: dict[str, str] = {}

    def renamed(match: re.Match[str]) -> str:
        word = match[1]
        return word if word in _WORDS else known.setdefault(word, f"v{len(known)}")

    # names of nests and of the user's nodes are not part of it
    return "\n".join(
        re.sub(r"'([^']*)'", renamed, repr((nest.axes, nest.store))) for nest in graph.flat_nests()
    )


def _nearest(
    task: Task, backend: Backend, target: Target, category: str
) -> Sequence[tuple[Task, float]]:
    graph = lowered(task)
    wanted, own = features(graph), computation(graph)
    found = []
    for other in _tasks(category):
        if other.name == task.name:
            continue
        try:
            theirs = lowered(other)
        except MkgenError:
            continue  # it can be lowered for nobody; the task linter says so
        if computation(theirs) != own:
            found.append((other, likeness(wanted, features(theirs))))
    return sorted(found, key=lambda pair: (-pair[1], pair[0].name))


@lru_cache(maxsize=64)
def _tasks(category: str) -> tuple[Task, ...]:
    tasks = (find_task(name) for name in task_files())
    return tuple(t for t in tasks if t.category == category)


def _made(task: Task, backend: Backend, target: Target, likeness: float) -> Exemplar | None:
    key = (task.hash, target)
    if key not in _texts:
        _texts[key] = _text_of(task, backend, target)
    text = _texts[key]
    return Exemplar(task, target, text, likeness) if text else None


_texts: dict[tuple[str, Target], str] = {}


def _text_of(task: Task, backend: Backend, target: Target) -> str:
    """`task` by the model's first choice that check sizes can prove; empty where there is none."""
    try:
        generator = Generator(task, backend, target, PrecisionClass.STRICT)
        choice = rank(generator)[0].candidate
        text = native_text(choice, _alternatives(generator, choice))
    except MkgenError:
        return ""  # this backend has no template for it, or the form cannot say it
    return text if len(text) <= MAX_CHARACTERS else ""


def _alternatives(generator: Generator, choice: TemplateCandidate) -> dict[str, list[int]]:
    """Other values of each parameter with which the rest of the choice stays legal, best first."""
    if len(generator.kernels) > 1:
        return {}  # a head that lists the sets of several kernels would be long
    (template,), chosen = choice.request.templates, choice.request.parameters
    found: dict[str, list[int]] = {}
    for ranked in rank_kernel(generator, generator.kernels[0]):
        option = ranked.option
        others = {k for k, v in option.parameters.items() if v != chosen.get(k)}
        if option.template is not template or not option.shown or len(others) != 1:
            continue
        (name,) = others
        value = option.parameters[name]
        if isinstance(value, int) and len(found.setdefault(name, [])) < _ALTERNATIVES:
            found[name].append(value)
    return found
