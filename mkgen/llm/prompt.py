"""Prompts: what a language model is asked, as one text that needs nothing else.

The parts are Jinja2 templates of this package (`prompts/`), whose hash is `prompts_version`. A
prompt is made of what the user may know: the reference, full sizes, the device's profile, an
exemplar. Held-out sizes, seeds and expected values have no way in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2

from mkgen.codegen.backend import Backend
from mkgen.codegen.candidate import lowered
from mkgen.document import content_hash
from mkgen.errors import UserError
from mkgen.evaluate.limits import profile_of
from mkgen.expression import to_python
from mkgen.ir.kernel import GIVEN
from mkgen.llm.exemplar import Exemplar, exemplar_of, fixed_exemplar
from mkgen.llm.hints import hints_for
from mkgen.llm.tokens import estimated_tokens as estimated_tokens  # whoever prompts counts
from mkgen.package.reference import reference_file
from mkgen.profile import HardwareProfile
from mkgen.target import Target
from mkgen.task import Task

#: Characters of an instruction that a model may propose.
MOST_OF_VARIATION = 200
_DIRECTORY = Path(__file__).with_name("prompts")
#: Facts of a profile that no kernel's author needs.
_LEFT_OUT = ("max_grid_x", "grid_y_z", "memory_bytes", "blocks_per_unit")


class Strategy(StrEnum):
    """What a prompt shows beside the question."""

    ZERO_SHOT = "zero-shot"
    """Nothing."""
    ONE_SHOT = "one-shot"
    """One exemplar, the same for every task."""
    CATEGORY = "category"
    """The nearest exemplar of the task's category."""
    CATEGORY_HINTS = "category+hints"
    """That, and the cost model's bound with what it suggests."""


class Form(StrEnum):
    """What an answer is."""

    NATIVE = "native"
    """One file with a head comment."""
    TEMPLATE = "template"
    """The same with parameters that mkgen sweeps."""
    MODULE = "module"
    """A PyTorch file that defines ModelNew."""


@dataclass(frozen=True)
class Previous:
    """An answer that was judged, and what is said of it."""

    text: str
    feedback: str


@dataclass(frozen=True)
class Extras:
    """What may be added to the question, by refinement, memory and evolution."""

    previous: Previous | None = None
    memory: tuple[str, ...] = ()
    """What worked and failed before, one line each."""
    variation: str = ""
    """What to try this time."""


@dataclass(frozen=True)
class Prompt:
    """One question, complete."""

    text: str
    task: Task
    target: Target
    strategy: Strategy
    form: Form
    version: str
    """Hash of the templates it was made by."""
    exemplar: Exemplar | None
    extras: Extras = field(default_factory=Extras)

    @property
    def sha(self) -> str:
        """Its identity."""
        return content_hash(self.text)


def make_prompt(
    task: Task,
    backend: Backend,
    target: Target,
    strategy: Strategy = Strategy.CATEGORY,
    form: Form = Form.NATIVE,
    extras: Extras | None = None,
) -> Prompt:
    """The question of `task` on `target`.

    UserError where the backend has no such form; UnsupportedError for a task that cannot be
    lowered, or without an exemplar where the strategy needs one.
    """
    extras = extras or Extras()
    if form is Form.MODULE and not backend.runs_modules:
        raise UserError(f"{backend.name} cannot be called from a ModelNew; use --form native")
    exemplar = _exemplar(task, backend, target, strategy) if form is not Form.MODULE else None
    profile = profile_of(backend, target)
    about: dict[str, Any] = {
        "task": _about_task(task),
        "target": {"name": str(target), "title": profile.title, "facts": _facts(profile)},
        "backend": _about_backend(backend, form),
        "hints": hints_for(task, backend, target) if strategy is Strategy.CATEGORY_HINTS else (),
        "exemplar": _about_exemplar(exemplar),
        "memory": extras.memory,
        "previous": extras.previous,
        "variation": extras.variation,
        "ask": _ask(form, extras.previous is not None),
    }
    environment = _environment()
    form_text = environment.get_template(f"{form.value}.j2").render(about)
    text = environment.get_template("kernel.j2").render(about, form=form_text)
    return Prompt(text, task, target, strategy, form, prompts_version(), exemplar, extras)


def variation_prompt(
    task: Task,
    backend: Backend,
    target: Target,
    filled: Sequence[str],
    empty: Sequence[str],
    tried: Sequence[str],
) -> str:
    """Asks for one instruction; the lists say, a line each, what an archive holds and has not."""
    return (
        _environment()
        .get_template("variation.j2")
        .render(
            title=profile_of(backend, target).title,
            target=str(target),
            reference=reference_file(task).text.rstrip(),
            filled=filled,
            empty=empty,
            tried=tried,
            most=MOST_OF_VARIATION,
        )
    )


@lru_cache(maxsize=1)
def prompts_version() -> str:
    """Hash of the templates that prompts are made by; records hold it."""
    files = sorted(_DIRECTORY.glob("*.j2"))
    return content_hash(*(part for f in files for part in (f.name, f.read_text("utf-8"))))


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_DIRECTORY),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # a prompt is text; nothing reads it as HTML
        keep_trailing_newline=True,
    )


def _exemplar(task: Task, backend: Backend, target: Target, strategy: Strategy) -> Exemplar | None:
    if strategy is Strategy.ZERO_SHOT:
        return None
    if strategy is Strategy.ONE_SHOT:
        return fixed_exemplar(task, backend, target)
    return exemplar_of(task, backend, target)


def _about_task(task: Task) -> dict[str, Any]:
    graph = lowered(task)
    sizes = graph.sizes(task.bench)
    buffers = [
        {
            "name": name,
            "role": "input, changed" if name in graph.written_state() else info.role,
            "dtype": info.dtype,
            "shape": ", ".join(to_python(e) for e in info.shape) or "one element",
            "extents": ", ".join(map(str, graph.shape(name, sizes))) or "1",
        }
        for name, info in graph.tensors.items()
        if info.role in GIVEN or name in graph.outputs
    ]
    return {
        "name": task.name,
        "category": task.category,
        "precision": task.precision.value,
        "reference": reference_file(task).text.rstrip(),
        "buffers": buffers,
        "sizes": ", ".join(f"{k} = {v}" for k, v in sizes.items()),
    }


def _about_backend(backend: Backend, form: Form) -> dict[str, Any]:
    python = backend.extension == ".py" or form is Form.MODULE
    return {
        "name": backend.name,
        "title": backend.title,
        "guide": backend.guide() if form is not Form.MODULE else "",
        "functional": backend.dialect == "pallas",
        "simt": backend.dialect == "c",
        "fence": "python" if python else backend.name,
    }


def _about_exemplar(exemplar: Exemplar | None) -> dict[str, Any] | None:
    if exemplar is None:
        return None
    task = exemplar.task
    return {
        "intro": f"`{task.name}` of category {task.category},",
        "reference": reference_file(task).text.rstrip(),
        "text": exemplar.text,
    }


def _facts(profile: HardwareProfile) -> list[str]:
    """The device's figures in words; their sources stand in the profile."""
    lines = []
    for name, fact in profile.facts.items():
        if name in _LEFT_OUT:
            continue
        values = fact.value if isinstance(fact.value, tuple) else (fact.value,)
        told = " or ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)
        note = f" ({fact.note})" if fact.note else ""
        lines.append(f"{name.replace('_', ' ')}: {told} {fact.unit}{note}")
    return lines


def _ask(form: Form, again: bool) -> str:
    what = {
        Form.NATIVE: "the file",
        Form.TEMPLATE: "the file, with its parameters",
        Form.MODULE: "the Python file",
    }[form]
    better = "the whole file again, mended" if again else what
    return f"Give {better} in one fenced code block, and nothing else that is fenced."
