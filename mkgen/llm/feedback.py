"""What the author of a text is told of its record: what to mend, or what would make it faster.

The words are the protocol's own. Check sizes may be shown; of held-out sizes and those with a thin
axis nothing is said but that there is one, so that no text can be fitted to them: neither index,
values, counts nor what the text itself has printed there.
"""

from __future__ import annotations

import re

from mkgen.codegen.backend import Backend
from mkgen.evaluate.limits import last_level_cache, profile_of
from mkgen.evaluate.structured import PATTERNS
from mkgen.evaluate.timing.floor import floor_of
from mkgen.evaluate.wording import duration
from mkgen.llm.hints import hints_for
from mkgen.llm.lines import Lines, lines_of
from mkgen.llm.spelling import first_errors, plain
from mkgen.record import EvidenceKind, Record, Status, WorkloadResult
from mkgen.target import Target
from mkgen.task import Task

#: How each end is introduced.
_ENDS = {
    Status.PASS: "It passed every check.",
    Status.WRONG_OUTPUT: "It compiles and runs, and its result is wrong.",
    Status.NONDETERMINISTIC: "Its result is another one when the same run is repeated.",
    Status.COMPILE_FAILED: "It does not compile.",
    Status.WRONG_ARCH: "What was compiled is not for the target.",
    Status.OVER_LIMIT: "It needs more than the device has.",
    Status.CRASHED: "Its run failed.",
    Status.TIMED_OUT: "Its run did not end in time.",
    Status.OUT_OF_MEMORY: "It used up the memory that a run may have.",
    Status.INPUT_CHANGED: "It wrote to an array that it may only read.",
    Status.SANITIZER_FINDING: "The numbers may be right; a sanitizer saw a fault.",
    Status.IMPLAUSIBLE: (
        "Its times contradict another clock, or the device's physical limits. All its work must be "
        "done on the stream it is given, and be over when that stream is."
    ),
    Status.REFUSED: "It is no kernel of its own, or says what no kernel needs.",
    Status.NO_KERNEL: "No kernel could be taken from the answer.",
}
_NOT_THE_TEXT = "It was not judged to the end, for a reason that lies outside the text"
#: Orders of threads by the names that executors give them; the first of an executor is the usual.
_ORDERS = ("reverse", "random", "warps", "shuffled")
_HIDDEN = ("heldout", "thin")
_NOT_SHOWN = "at a size that is not shown"
#: Of a hidden run: what is said of it, by words of the executors'.
_HIDDEN_FACTS = (
    (re.compile(r"out-of-bounds write|wrote out of bounds|were overwritten"),
     "something was written outside of the buffers"),
    (re.compile(r"\bgot nan\b"), "an element is NaN, which is also what nobody has written"),
    (re.compile(r"not rounded to nearest"), "results are not rounded to nearest"),
)  # fmt: skip
_HEAD_LINE = re.compile(r", line (\d+): ")


def feedback(record: Record, task: Task, backend: Backend, target: Target, text: str = "") -> str:
    """What is said of `record` to whoever wrote its `text`; lines are those of that text."""
    parts = [_ENDS.get(record.status, f"{_NOT_THE_TEXT} ({record.status.value}).")]
    parameters = _parameters(record)
    if parameters:
        parts.append(f"The parameters were {parameters}.")
    if record.status is Status.PASS:
        parts += [*_resources(record), *_speed(record, task, backend, target)]
    elif record.status is Status.EVIDENCE_MISSING:
        parts.append(_reason(record, task))
    elif record.status in _ENDS and record.status is not Status.IMPLAUSIBLE:
        lines = lines_of(record, task, backend, target, text) if text else Lines()
        parts += _fault(record, task, lines)
        parts += _resources(record) if record.status is Status.OVER_LIMIT else []
    return "\n\n".join(part for part in parts if part)


def _parameters(record: Record) -> str:
    own = {k: v for k, v in record.parameters.items() if k not in ("file", "library")}
    return ", ".join(f"{k} = {v}" for k, v in own.items())


def _fault(record: Record, task: Task, lines: Lines) -> list[str]:
    """What went wrong and where; of a result where there is one, else of the whole."""
    wrong = [r for r in record.results if r.status is not Status.PASS]
    if not wrong:
        return [_reason(record, task)]
    result = wrong[-1]
    if result.executor == "compile":
        return _compile_log(record, result, lines)
    if result.role in _HIDDEN:
        return [_hidden(result)]
    message = plain(lines.spell(result.message))
    told = f"{_where(result, task)}: {message}"
    if "got nan" in message:
        told += (
            "\n\nBuffers are filled with NaN before a run: an element that nobody writes is NaN."
        )
    return [told]


def _reason(record: Record, task: Task) -> str:
    """The record's reason, without what it says of sizes that are not shown."""
    names = [w.name for w in task.workloads() if w.role in _HIDDEN]
    names += [f"{axis.lower()}-{extent}" for axis in task.bench for extent in (0, 1)]
    if not any(
        re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", record.reason) for name in names
    ):
        return plain(record.reason)
    line = _HEAD_LINE.search(record.reason)
    if record.status is Status.NO_KERNEL and line:
        return f"Line {line[1]} of the file gives a number that is not allowed {_NOT_SHOWN}."
    return f"It is so {_NOT_SHOWN}."


def _compile_log(record: Record, result: WorkloadResult, lines: Lines) -> list[str]:
    log = first_errors(lines.spell(result.message))
    if re.search(r"\berror\b", log):
        return [log]
    # Triton counts lines from the function's first; the reason counts those of the file
    return [plain(lines.spell(record.reason)), log]


def _hidden(result: WorkloadResult) -> str:
    facts = [told for words, told in _HIDDEN_FACTS if words.search(result.message)]
    order = _order(result)
    return f"It is so {_NOT_SHOWN}{order}" + (f": {facts[0]}." if facts else ".")


def _where(result: WorkloadResult, task: Task) -> str:
    """`At the check size ROWS = 5, COLS = 67, with other values (tiny: …)`."""
    name, _, structure = result.workload.partition(" ")
    sizes = next((w.sizes for w in task.workloads() if w.name == name), {})
    told = ", ".join(f"{k} = {v}" for k, v in sizes.items())
    where = f"At {'full' if result.role == 'bench' else 'the check'} size {told}".rstrip()
    if result.schedule == "timed":
        where += ", in a timed call"
    if structure:
        title = next((p.title for p in PATTERNS if p.name == structure), "")
        where += f", with other values ({structure}: {title})"
    return where + _order(result)


def _order(result: WorkloadResult) -> str:
    if result.schedule in _ORDERS:
        return f", when threads run in another order ({result.schedule})"
    return ", where reads beside a buffer fail" if result.schedule == "fenced" else ""


def _resources(record: Record) -> list[str]:
    """Of each kernel, as its compiler states them."""
    told = []
    for entry, found in record.artifacts[0].resources.items() if record.artifacts else ():
        spills = found.spilled_registers, found.spill_bytes
        facts = [
            f"{found.registers} registers per thread" if found.registers is not None else "",
            f"{spills[0] or spills[1]} {'registers' if spills[0] else 'bytes'} spilled to memory"
            if any(spills)
            else ("nothing spilled" if spills != (None, None) else ""),
            f"{found.shared_bytes} bytes of shared memory" if found.shared_bytes else "",
        ]
        stated = ", ".join(f for f in facts if f)
        told += [f"`{entry}`: {stated}."] if stated else []
    return ["\n".join(told)] if told else []


def _speed(record: Record, task: Task, backend: Backend, target: Target) -> list[str]:
    """Times where it was timed; else that nothing was, and the estimates."""
    timing = next((e.timing for e in record.evidence if e.timing is not None), None)
    if timing is None or not record.has(EvidenceKind.TIMED):
        hints = "\n".join(f"- {hint}" for hint in hints_for(task, backend, target))
        told = "Nothing was timed. By a cost model, which is an estimate:"
        return [f"{told}\n{hints}" if hints else "Nothing was timed."]
    cache = last_level_cache(backend, target)
    floor = floor_of(
        task, task.workloads()[0], record.precision, profile_of(backend, target), cache,
        flushed=timing.flush_verified,
    )  # fmt: skip
    own = timing.candidate.median
    told = f"At full size a call takes {duration(own)} (median)."
    if floor.seconds > 0:
        told += (
            f" No kernel can be faster than {duration(floor.seconds)} here: {floor.reason}. "
            f"It takes {own / floor.seconds:.3g} times as long."
        )
    for other in timing.baselines:
        told += f" {other.name} takes {duration(other.median)}."
    return [told]
