"""For tests of evolution: a row sum, a library of its schedules, and a stand-in for a model.

The stand-in answers as a model would: it reads the parent's text and the variation from the prompt,
and gives a text that differs by a parameter's value or by its schedule. It is wrong now and then.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

import torch
from test_evaluate_store import record

from mkgen.codegen.candidate import scales
from mkgen.codegen.registry import backend_named
from mkgen.document import Document, content_hash
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.oracle import Judge
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import Settings
from mkgen.llm.describe import Cell, Decomposition, Memory, Unit
from mkgen.llm.evolve import Evaluator, Question
from mkgen.llm.placing import JudgedText, text_judge
from mkgen.llm.prompt import Prompt, Strategy
from mkgen.llm.provider import Provider, Reply
from mkgen.llm.variations import VARIATIONS
from mkgen.record import Status
from mkgen.target import Target
from mkgen.task import Task, Tensor
from mkgen.tune.generate import refusal_of


def row_sum(x: torch.Tensor) -> torch.Tensor:
    return x.sum(dim=-1)


ROW_SUM = Task(
    name="row_sum", category="reduce", reference=row_sum, inputs={"x": Tensor("ROWS, COLS")},
    bench={"ROWS": 4096, "COLS": 1024},
    check=({"ROWS": 5, "COLS": 67},), heldout=({"ROWS": 7, "COLS": 40},),
    source="def row_sum(x):\n    return x.sum(dim=-1)\n",
)  # fmt: skip
OPENCL = backend_named("opencl")
CPU = Target.parse("opencl:cpu")
QUESTION = Question(ROW_SUM, OPENCL, CPU, Strategy.ZERO_SHOT)

#: Parameters of every schedule, with the values that a mutation chooses from.
VALUES = {"THREADS": (64, 32, 128), "ITEMS": (16, 12), "PARTS": (4, 8), "PIECE": (128, 64)}


class Schedule(Document):
    """One way to sum rows, and its parameters."""

    cell: Cell
    threads: int = 64
    items: int = 16
    parts: int = 4
    piece: int = 128

    @property
    def text(self) -> str:
        """The native file."""
        return _file(self)


def parse_schedule(text: str) -> Schedule | None:
    """The schedule that `text` says it is in a comment; None for a text from elsewhere."""
    named = re.search(r"// schedule (\w+)/(\w+)/(\w+)", text)
    if not named:
        return None
    values = {m[1].lower(): int(m[2]) for m in re.finditer(r"^([A-Z]+) = \[(\d+)", text, re.M)}
    known = {k: v for k, v in values.items() if k.upper() in VALUES}
    cell = Cell(Memory(named[1]), Decomposition(named[2]), Unit(named[3]))
    return Schedule(cell=cell, **known)


# columns `first` to `last` of a row that begins at `from`, every `step`-th
_SCALAR = """\
float sum_{name}({space} const float* from, int first, int last, int step) {{
  float total = 0.0f;
  for (int c = first; c < last; c += step) total += from[c];
  return total;
}}
"""
_VECTOR = """\
float sum_{name}({space} const float* from, int first, int last, int step) {{
  float4 four = (float4)(0.0f);
  int c = first * 4;
  for (; c + 3 < last; c += step * 4) four += vload4(0, from + c);
  float total = (four.x + four.y) + (four.z + four.w);
  for (; c < last; ++c) total += from[c];
  return total;
}}
"""


def _sums(cell: Cell) -> str:
    space = "__global" if cell.memory is Memory.REGISTERS else "__local"
    body = _VECTOR if cell.unit is Unit.VECTOR else _SCALAR
    return body.format(name="part", space=space)


def _stage(cell: Cell) -> str:
    """Fills `stage` with `count` floats from `x + start`."""
    if cell.memory is Memory.FED:
        return """\
    event_t filled = async_work_group_copy(stage, x + start, count, 0);
    wait_group_events(1, &filled);
"""
    return """\
    for (int e = thread; e < count; e += THREADS) stage[e] = x[start + e];
    barrier(CLK_LOCAL_MEM_FENCE);
"""


def _head(launches: str, temporary: str = "") -> str:
    return f'task = "row_sum"\nbackend = "opencl"\n{temporary}{launches}'


def _launch(entry: str, arguments: str, grid: str, block: str = '"THREADS"') -> str:
    return (
        f'[[launch]]\nentry = "{entry}"\nargs = [{arguments}]\ngrid = [{grid}]\nblock = [{block}]\n'
    )


_KERNEL = "__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))\nvoid "
_ONE = "(__global const float* restrict x, __global float* restrict y) {\n"
_TREE = """\
  scratch[thread] = total;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int count = THREADS / 2; count > 0; count /= 2) {
    if (thread < count) scratch[thread] += scratch[thread + count];
    barrier(CLK_LOCAL_MEM_FENCE);
  }
"""


def _element(s: Schedule) -> tuple[str, str]:
    body = f"""{_KERNEL}rows{_ONE}\
  const int row = get_global_id(0);
  if (row < ROWS) y[row] = sum_part(x + row * COLS, 0, COLS, 1);
}}
"""
    return _launch("rows", '"x", "y"', '"ceil_div(ROWS, THREADS)"'), body


def _tile(s: Schedule) -> tuple[str, str]:
    if s.cell.memory is Memory.REGISTERS:
        body = f"""{_KERNEL}rows{_ONE}\
  const int first = get_global_id(0) * ITEMS;
  for (int row = first; row < min(first + ITEMS, ROWS); ++row)
    y[row] = sum_part(x + row * COLS, 0, COLS, 1);
}}
"""
        return _launch("rows", '"x", "y"', '"ceil_div(ROWS, THREADS * ITEMS)"'), body
    body = f"""{_KERNEL}rows{_ONE}\
  __local float stage[4 * COLS];
  const int thread = get_local_id(0), first = get_group_id(0) * 4;
  const int here = min(4, ROWS - first), count = here * COLS;
  const size_t start = (size_t)first * COLS;
{_stage(s.cell)}\
  if (thread < here) y[first + thread] = sum_part(stage + thread * COLS, 0, COLS, 1);
}}
"""
    return _launch("rows", '"x", "y"', '"ceil_div(ROWS, 4)"'), body


def _row(s: Schedule) -> tuple[str, str]:
    if s.cell.memory is Memory.REGISTERS:
        step = "get_sub_group_local_id(), COLS, get_sub_group_size()"
        body = f"""#pragma OPENCL EXTENSION cl_khr_subgroups : enable
__kernel __attribute__((reqd_work_group_size(16, 1, 1)))
__attribute__((intel_reqd_sub_group_size(16)))
void rows{_ONE}\
  const int row = get_group_id(0);
  const float total = sub_group_reduce_add(sum_part(x + row * COLS, {step}));
  if (get_sub_group_local_id() == 0) y[row] = total;
}}
"""
        return _launch("rows", '"x", "y"', '"ROWS"', "16"), body
    body = f"""{_KERNEL}rows{_ONE}\
  __local float stage[COLS];
  __local float scratch[THREADS];
  const int thread = get_local_id(0), row = get_group_id(0), count = COLS;
  const size_t start = (size_t)row * COLS;
{_stage(s.cell)}\
  const float total = sum_part(stage, thread, COLS, THREADS);
{_TREE}\
  if (thread == 0) y[row] = scratch[0];
}}
"""
    return _launch("rows", '"x", "y"', '"ROWS"'), body


def _split(s: Schedule) -> tuple[str, str]:
    """Parts of each row by a first kernel, their sum by a second."""
    sized = "(COLS + PARTS - 1) / PARTS"
    if s.cell.memory is Memory.REGISTERS:
        first = f"""\
  const int at = get_global_id(0), row = at / PARTS, begin = at % PARTS * ({sized});
  if (row < ROWS)
    parts[at] = sum_part(x + row * COLS + begin, 0, max(0, min({sized}, COLS - begin)), 1);
"""
        grid = '"ceil_div(ROWS * PARTS, THREADS)"'
    else:
        first = f"""\
  __local float stage[{sized}];
  __local float scratch[THREADS];
  const int thread = get_local_id(0), at = get_group_id(0);
  const int row = at / PARTS, begin = at % PARTS * ({sized});
  const int count = max(0, min({sized}, COLS - begin));
  const size_t start = (size_t)row * COLS + (count > 0 ? begin : 0);
{_stage(s.cell)}\
  const float total = sum_part(stage, thread, count, THREADS);
{_TREE}\
  if (thread == 0) parts[at] = scratch[0];
"""
        grid = '"ROWS * PARTS"'
    body = f"""{_KERNEL}first(__global const float* restrict x, __global float* restrict parts) {{
{first}}}
{_KERNEL}second(__global const float* restrict parts, __global float* restrict y) {{
  const int row = get_global_id(0);
  float total = 0.0f;
  if (row < ROWS) {{
    for (int part = 0; part < PARTS; ++part) total += parts[row * PARTS + part];
    y[row] = total;
  }}
}}
"""
    launches = _launch("first", '"x", "parts"', grid)
    return launches + _launch("second", '"parts", "y"', '"ceil_div(ROWS, THREADS)"'), body


_BODIES = {
    Decomposition.ELEMENT: _element, Decomposition.TILE: _tile, Decomposition.ROW: _row,
    Decomposition.SPLIT: _split,
}  # fmt: skip


def _file(s: Schedule) -> str:
    launches, body = _BODIES[s.cell.decomposition](s)
    split = s.cell.decomposition is Decomposition.SPLIT
    temporary = (
        '[[temporary]]\nname = "parts"\ndtype = "float32"\nshape = ["ROWS", "PARTS"]\n'
        if split
        else ""
    )
    used = {k: getattr(s, k.lower()) for k in VALUES if re.search(rf"\b{k}\b", launches + body)}
    parameters = "".join(f"{k} = [{v}]\n" for k, v in used.items())
    head = _head(launches, f"[parameters]\n{parameters}{temporary}" if used else temporary)
    return f"/* mkgen\n{head}*/\n// schedule {s.cell}\n{_sums(s.cell)}\n{body}"


_SENTENCES = (
    "Sum four rows at a time in each thread.",
    "Give each block half of its threads.",
    "Read the rows from the last to the first.",
)


def mutated(parent: Schedule, aim: object, choice: int) -> Schedule:
    """`parent` moved along an axis to `aim`; without one, with another value of a parameter."""
    memory, decomposition, unit = parent.cell.values
    if isinstance(aim, Memory):
        memory = aim
        if aim is not Memory.REGISTERS and decomposition is Decomposition.ELEMENT:
            decomposition = Decomposition.TILE
    elif isinstance(aim, Decomposition):
        decomposition = aim
        memory = Memory.REGISTERS if aim is Decomposition.ELEMENT else memory
    elif isinstance(aim, Unit) and aim is not Unit.MATRIX:
        unit = aim
    cell = Cell(memory, decomposition, unit)
    moved = parent.model_copy(update={"cell": cell})
    if cell != parent.cell:
        return moved
    name = list(VALUES)[choice % len(VALUES)]
    value = VALUES[name][choice // len(VALUES) % len(VALUES[name])]
    return moved.model_copy(update={name.lower(): value})


@dataclass
class StandIn(Provider):
    """Edits the text in the prompt; with `faults`, one answer in eight holds no right kernel."""

    asked: list[tuple[str, int]] = field(default_factory=list)
    faults: bool = True

    @property
    def name(self) -> str:
        return "stand-in"

    @property
    def identity(self) -> str:
        return "stand-in 1"

    def ask(self, prompt: str, sample: int) -> Reply:
        self.asked.append((prompt, sample))
        digest = hashlib.sha256(f"{sample} {prompt}".encode()).digest()
        return Reply(text=self._answer(prompt, digest), model="x", finish="stop", seconds=0.0)

    def _answer(self, prompt: str, digest: bytes) -> str:
        if prompt.startswith("You advise"):
            return f"Sure:\n\n**{_SENTENCES[digest[0] % len(_SENTENCES)]}** It helps."
        shown = re.search(r"# Your last answer\n\n```\w+\n(.*?)```", prompt, re.DOTALL)
        tried = re.search(r"# What to try this time\n\n(.*?)\n", prompt)
        aim = next((v.aim for v in VARIATIONS if tried and v.text == tried[1]), None)
        start = Schedule(cell=Cell(Memory.SHARED, Decomposition.ROW, Unit.SCALAR))
        text = mutated((shown and parse_schedule(shown[1])) or start, aim, digest[1]).text
        match digest[0] % 24 if self.faults else None:
            case 0:
                return "I would rather not."
            case 1:
                text = text.replace("total += ", "total -= ")
            case 2:
                text = text.replace("float total", "flaot total")
        return f"Here it is:\n\n```opencl\n{text}```\n"


def evaluator(judge: object) -> Evaluator:
    """Takes the fenced text of a reply and has it judged; each text once."""
    known: dict[str, JudgedText] = {}

    def evaluate(prompt: Prompt, reply: Reply, *, sample: int, parent: str) -> JudgedText:
        found = re.search(r"```opencl\n(.*?)```", reply.text, re.DOTALL)
        if not found:
            told = refusal_of(
                prompt.task, prompt.target, prompt.task.precision, Status.NO_KERNEL, "none"
            )
            return JudgedText(told, "")
        if found[1] not in known:
            known[found[1]] = judge(found[1])  # type: ignore[operator]
        return known[found[1]]

    return evaluate


def fake_judge(text: str) -> JudgedText:
    """What an evaluation would say of a text of the library, without one."""
    wrong = "total -= " in text or "flaot" in text
    status = Status.WRONG_OUTPUT if wrong else Status.PASS
    made = record(task="row_sum", status=status, reason="no" if wrong else "", target=CPU)
    parameters = {k: int(v) for k, v in re.findall(r"^([A-Z]+) = \[(\d+)", text, re.M)}
    sha = content_hash(text)
    return JudgedText(made.model_copy(update={"text_sha": sha, "parameters": parameters}), text)


def real_judge(workers: Workers, directory: Path):
    """The protocol on this machine's CPU."""
    settings = Settings(judge=Judge(scales), cache=CompileCache(directory))
    return text_judge(ROW_SUM, OPENCL, CPU, workers, settings)
