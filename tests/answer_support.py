"""Replies of tests/data/answers, written for two dialects of C, and small tasks to judge by."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import torch

from mkgen.codegen.backend import Backend
from mkgen.codegen.candidate import scales
from mkgen.codegen.registry import backend_named
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.oracle import Judge as Oracle
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import Settings
from mkgen.llm.judging import Judge, Judged
from mkgen.llm.prompt import Form, Prompt, Strategy, make_prompt
from mkgen.llm.provider import Reply
from mkgen.record import Record
from mkgen.target import Target
from mkgen.task import Task, Tensor

ANSWERS = Path(__file__).parent / "data" / "answers"
FORMS = tuple(form.value for form in Form)
#: What a reply to `native` or `template` is written for; the texts have placeholders for both.
BACKENDS = ("hip", "opencl")

_HIP = {
    "KERNEL": 'extern "C" __global__ void __launch_bounds__(64)',
    "ANY_KERNEL": 'extern "C" __global__ void',
    "IN": "const float* __restrict__",
    "OUT": "float* __restrict__",
    "POINTER": "float*",
    "VOLATILE": "volatile float*",
    "GID": "(int)(blockIdx.x * 64 + threadIdx.x)",
    "TID": "(int)threadIdx.x",
    "BLOCK": "(int)blockIdx.x",
    "SHARED": "__shared__",
    "BARRIER": "__syncthreads()",
    "FMAX": "fmaxf",
    "EXP": "expf",
}
_OPENCL = {
    "KERNEL": "__kernel __attribute__((reqd_work_group_size(64, 1, 1))) void",
    "ANY_KERNEL": "__kernel void",
    "IN": "__global const float* restrict",
    "OUT": "__global float* restrict",
    "POINTER": "__global float*",
    "VOLATILE": "volatile __global float*",
    "GID": "(int)get_global_id(0)",
    "TID": "(int)get_local_id(0)",
    "BLOCK": "(int)get_group_id(0)",
    "SHARED": "__local",
    "BARRIER": "barrier(CLK_LOCAL_MEM_FENCE)",
    "FMAX": "fmax",
    "EXP": "exp",
}
_WORDS = {
    "hip": _HIP | {"ext": ".hip"},
    "cuda": _HIP | {"ext": ".cu"},
    "opencl": _OPENCL | {"ext": ".cl"},
}


def in_dialect(text: str, backend: str) -> str:
    """`text` with its placeholders, `@KERNEL@`, in the words of `backend`."""
    for name, word in (_WORDS.get(backend, {}) | {"backend": backend}).items():
        text = text.replace(f"@{name}@", word)
    return text


def relu(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x)


def softmax(x: torch.Tensor) -> torch.Tensor:
    return torch.softmax(x, dim=-1)


def row_sum(x: torch.Tensor) -> torch.Tensor:
    return x.sum(dim=-1)


def _task(name: str, category: str, reference, **tensor: float) -> Task:
    """Sizes are few and small, because each is built anew; held-out ones are unlike all others."""
    body = {"relu": "torch.relu(x)", "softmax": "torch.softmax(x, dim=-1)"}
    expression = body.get(name, "x.sum(dim=-1)")
    return Task(
        name=name, category=category, reference=reference,
        inputs={"x": Tensor("ROWS, COLS", **tensor)},
        bench={"ROWS": 512, "COLS": 1024},
        check=({"ROWS": 5, "COLS": 67},), heldout=({"ROWS": 59, "COLS": 83},),
        source=f"import torch\n\n\ndef {name}(x):\n    return {expression}\n",
    )  # fmt: skip


TASKS = {
    "relu": _task("relu", "activation", relu),
    "softmax": _task("softmax", "normalization", softmax, scale=3.0),
    "row_sum": _task("row_sum", "reduce", row_sum),
}


@dataclass(frozen=True)
class Case:
    """One reply and what it must come to."""

    form: Form
    name: str
    status: str
    words: str = ""
    """A pattern that the reason, or the answer's note, holds."""
    finish: str = "stop"
    task: str = "relu"
    parameters: dict[str, int] | None = None
    """Of the set that must be the best."""

    @property
    def text(self) -> str:
        """The reply with its placeholders."""
        return (ANSWERS / self.form.value / f"{self.name}.txt").read_bytes().decode()

    def reply(self, backend: str) -> Reply:
        """The reply as a model gives it."""
        return reply_of(in_dialect(self.text, backend), self.finish)


def cases() -> list[Case]:
    """The table, form by form."""
    table = tomllib.loads((ANSWERS / "table.toml").read_text())
    return [Case(Form(form), name, **row) for form in FORMS for name, row in table[form].items()]


def reply_of(text: str, finish: str = "stop") -> Reply:
    return Reply(text=text, model="stand-in-1", finish=finish, seconds=0.0)


def target_of(backend: Backend) -> Target:
    return Target(backend=backend.name, arch=backend.default_arch)


def prompt_for(task: Task, backend: Backend, form: Form) -> Prompt:
    return make_prompt(task, backend, target_of(backend), Strategy.ZERO_SHOT, form)


def settings_for(cache: Path, **changes: object) -> Settings:
    made = {"judge": Oracle(scales), "cache": CompileCache(cache), "run_timeout": 30.0}
    return Settings(**(made | changes))


def judged(case: Case, backend: str, workers: Workers, settings: Settings) -> Judged:
    """The reply of `case` on `backend`, judged."""
    found = backend_named(backend)
    prompt = prompt_for(TASKS[case.task], found, case.form)
    return Judge(workers, settings).judge(prompt, found, case.reply(backend), provider="tests")


def hidden_in(said: str, record: Record) -> list[str]:
    """What of `said` an author must not see: held-out sizes, the seed, places of files."""
    document = record.task_document or {}
    numbers = {str(v) for sizes in document["heldout"] for v in sizes.values()}
    numbers |= {str(record.seed)} if record.seed is not None else set()
    found = [n for n in numbers if re.search(rf"(?<![\w.]){n}(?![\w.])", said)]
    found += re.findall(
        r"heldout\d*|held-out|/tmp\S*|/home\S*|/root\S*|/var\S*|site-packages", said
    )
    return found + re.findall(r"(?<![\w.])/[\w.-]+/[\w./-]+", said)
