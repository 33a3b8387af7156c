"""A model's reply judged: extracted, made a candidate, swept and evaluated; always a record."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from mkgen.codegen.backend import Backend
from mkgen.errors import UnsupportedError, UserError
from mkgen.evaluate.module_source import ModuleCandidate, module_candidate, parse_module
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import Settings, evaluate
from mkgen.foreign.native import parse_native
from mkgen.foreign.native_program import SourceCandidate, source_candidate
from mkgen.llm.answer import Answer, extract
from mkgen.llm.exchanges import answer_hash
from mkgen.llm.prompt import Form, Prompt
from mkgen.llm.provider import Reply
from mkgen.record import Generation, Record, Status
from mkgen.tune.generate import refusal_of, status_of
from mkgen.tune.variants import COMPILED, sweep


@dataclass(frozen=True)
class Judged:
    """One answer and what came of it."""

    record: Record
    """Of the best set of its parameters, with its `Generation`."""
    text: str
    """The kernel's file; empty where the reply held none."""
    tried: tuple[Record, ...]
    """Of every set that was evaluated, in order; `record` alone where nothing was."""
    answer: Answer


class Judge:
    """Judges replies; several threads may ask it at once, as they may the workers."""

    def __init__(self, workers: Workers, settings: Settings) -> None:
        self.workers, self.settings = workers, settings

    def judge(
        self,
        prompt: Prompt,
        backend: Backend,
        reply: Reply,
        *,
        sample: int = 0,
        round: int = 0,
        parent: str = "",
        provider: str = "",
    ) -> Judged:
        """The record of `reply` to `prompt`. Raises nothing but an interruption.

        `parent` is the key of the record whose text it was to change, `provider` a name.
        """
        generation = Generation(
            provider=provider,
            model=reply.model,
            prompt_sha=prompt.sha,
            prompts_version=prompt.version,
            strategy=prompt.strategy.value,
            form=prompt.form.value,
            exemplar=prompt.exemplar.task.name if prompt.exemplar else "",
            exemplar_sha=prompt.exemplar.sha if prompt.exemplar else "",
            sample=sample,
            round=round,
            answer_sha=answer_hash(reply.text),
            parent=parent,
        )
        answer = extract(reply, prompt.form, backend, prompt.task.name)
        try:
            record, tried = self._records(prompt, backend, answer)
        except Exception as error:  # a plug-in's, or ours: the others must go on
            record = _refusal(prompt, *status_of(error))
            tried = (record,)
        made = [r.model_copy(update={"generation": generation}) for r in (record, *tried)]
        return Judged(made[0], answer.text, tuple(made[1:]), answer)

    def _records(
        self, prompt: Prompt, backend: Backend, answer: Answer
    ) -> tuple[Record, tuple[Record, ...]]:
        """The best record, and all."""
        if answer.reason:
            record = _refusal(prompt, Status.NO_KERNEL, answer.reason)
            return record, (record,)
        try:
            candidate = self._candidate(prompt, backend, answer)
        except UnsupportedError:
            raise  # the task's or the backend's limit, no fault of the text
        except UserError as error:
            record = _refusal(prompt, Status.NO_KERNEL, str(error))
            return record, (record,)
        if isinstance(candidate, ModuleCandidate):
            record = evaluate(candidate, self.workers, self.settings)
            return record, (record,)
        swept = sweep(candidate, self.workers, self.settings)
        return swept.record, swept.tried

    def _candidate(
        self, prompt: Prompt, backend: Backend, answer: Answer
    ) -> ModuleCandidate | SourceCandidate:
        """What the protocol judges. UserError names the line of the head, or of the text."""
        task, target, library = prompt.task, prompt.target, self.settings.allow_library
        if prompt.form is Form.MODULE:
            module = parse_module(answer.text, answer.name)
            return module_candidate(
                task, backend, target, module, task.precision, allow_library=library
            )
        native = parse_native(answer.text, answer.name)
        candidate = source_candidate(
            task, backend, target, native, task.precision, allow_library=library
        )
        _require_programs(candidate)
        return candidate


def _require_programs(candidate: SourceCandidate) -> None:
    """UserError, with the line of the head, when no set has a program at every size."""
    sets = [candidate]
    if candidate.native.head.parameters:
        sets = list(itertools.islice(candidate.variants(), COMPILED))
    first: UserError | None = None
    for one in sets:
        try:
            for workload in candidate.task.workloads():
                one.program(workload)
            return
        except UserError as error:
            first = first or error
    if first is not None:
        raise first


def _refusal(prompt: Prompt, status: Status, reason: str) -> Record:
    record = refusal_of(prompt.task, prompt.target, prompt.task.precision, status, reason)
    origin = "module" if prompt.form is Form.MODULE else "source"
    return record.model_copy(update={"origin": origin})
