"""What a model is asked, before an earlier answer is shown to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mkgen.codegen.backend import Backend
from mkgen.llm.prompt import Extras, Form, Previous, Prompt, Strategy, make_prompt
from mkgen.target import Target
from mkgen.task import Task


@dataclass(frozen=True)
class Question:
    """What is asked, but for what earlier rounds add to it."""

    task: Task
    backend: Backend
    target: Target
    strategy: Strategy = Strategy.CATEGORY
    form: Form = Form.NATIVE
    extras: Extras = field(default_factory=Extras)

    def prompt(self, previous: Previous | None) -> Prompt:
        """The prompt of a round; `previous` None: what the extras say. UserError."""
        extras = self.extras if previous is None else replace(self.extras, previous=previous)
        return make_prompt(self.task, self.backend, self.target, self.strategy, self.form, extras)
