"""From a model's reply to a kernel's text: extracted, or rejected with a reason.

A reply is arbitrary text. It is only looked at: nothing of it is imported or run, and the time is
linear in its length. Whether the text is for the right task is the protocol's matter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mkgen.codegen.backend import Backend
from mkgen.evaluate.module_source import holds_module
from mkgen.foreign.native import C_START, PYTHON_START, holds_native
from mkgen.llm.blocks import Block, Blocks, read_blocks
from mkgen.llm.completeness import cut_off, without_prose
from mkgen.llm.prompt import Form
from mkgen.llm.provider import Reply

#: Longer replies hold no kernel that a file may be.
MAX_REPLY_CHARACTERS = 8 << 20
_SHOWN = 120
_REFUSES = re.compile(
    r"\b(?:I(?:'m| am) sorry|I apologi[sz]e|I (?:cannot|can't|can not|won't|will not|must decline)|"
    r"I(?:'m| am) (?:unable|not able)|as an AI)\b",
    re.IGNORECASE,
)
#: A refusal says so soon.
_REFUSAL_WITHIN = 600
_INCLUDE = re.compile(r'^[ \t]*+#[ \t]*+include[ \t]*+"([^"\n]{1,200})"', re.MULTILINE)
_IMPORT = re.compile(r"^[ \t]*+(?:from|import)[ \t]++\.*+([A-Za-z_]\w{0,99})", re.MULTILINE)
_NEAR_HEAD = re.compile(r"^[ \t]*+(?:/\*|#)[*!]*+[ \t]*+mkgen\b", re.MULTILINE)
#: What shows the language of a text, first match first.
_MARKS = (
    ("@triton.jit", "Triton"), ("pallas_call", "Pallas"), ("__kernel ", "OpenCL C"),
    ("sycl::", "SYCL"), ("hip/hip_runtime", "HIP"), ("hipLaunch", "HIP"),
    ("__global__", "CUDA or HIP"), ("import torch", "PyTorch"),
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What a reply holds."""

    text: str
    """The kernel's file; empty where there is none."""
    name: str
    """A file name for it, `softmax.hip`."""
    reason: str = ""
    """Why there is no kernel, for the record and for feedback; empty where there is one."""
    note: str = ""
    """Which of several blocks it is, or what was left out; empty where it is all there was."""


class _Rejected(Exception):  # noqa: N818  an end like another, not an error of ours
    """Why the reply holds no kernel."""


def extract(reply: Reply, form: Form, backend: Backend, task: str) -> Answer:
    """The text of a kernel for `task`, a name, in `reply`, or why there is none. Raises nothing."""
    name = f"{task}{'.py' if form is Form.MODULE else backend.extension}"
    try:
        text, note = _Extraction(reply, form, backend).kernel()
    except _Rejected as rejected:
        return Answer("", name, " ".join(str(rejected).split()))
    return Answer(text, name, "", note)


class _Extraction:
    """One reply, looked at once."""

    def __init__(self, reply: Reply, form: Form, backend: Backend) -> None:
        self.reply, self.form, self.backend = reply, form, backend
        text = reply.text[: MAX_REPLY_CHARACTERS + 1]
        text = text.encode(errors="replace").decode()  # half a surrogate pair is no text
        self.text = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
        self.what = (
            "one Python file that defines class ModelNew"
            if form is Form.MODULE
            else f"one file of {backend.title} that begins with a line `{self._start()}`"
        )

    def kernel(self) -> tuple[str, str]:
        """The file, and what is said of its choice. _Rejected."""
        if len(self.text) > MAX_REPLY_CHARACTERS:
            raise _Rejected(f"the answer is longer than {MAX_REPLY_CHARACTERS} characters")
        if self.reply.finish == "refusal":
            raise _Rejected(f"the author declined: {self._beginning(self.text)}")
        if not self.text.strip():
            raise _Rejected(f"the answer is empty; give {self.what}")
        read = read_blocks(self.text)
        blocks = [b for b in read.blocks if b.text]
        fitting = [b for b in blocks if self._fits(b.text)]
        inner = [b for b in fitting if not b.outer]
        if inner or fitting:
            return self._of(inner or fitting, blocks)
        text = without_prose(read.prose, module=self.form is Form.MODULE)
        if self._fits(text):
            return self._of([Block(text, "", "", False, False)], blocks, fenced=False)
        raise _Rejected(self._nothing(read, blocks))

    def _of(
        self, fitting: list[Block], blocks: list[Block], *, fenced: bool = True
    ) -> tuple[str, str]:
        """The last complete one of `fitting`. _Rejected where none is."""
        reasons = []
        for number in range(len(fitting), 0, -1):
            block = fitting[number - 1]
            reason = cut_off(block, self.reply.finish, fenced=fenced)
            if not reason:
                break
            reasons.append(reason)
        else:
            raise _Rejected(f"{reasons[0]}; give the whole file, shorter")
        self._alone(block, blocks)
        notes = [f"block {number} of the {len(fitting)} that would do"] if len(fitting) > 1 else []
        notes += ["what follows it is cut off"] if reasons else []
        notes += [] if block.closed or not fenced else ["its closing fence is missing"]
        notes += [] if fenced else ["it was not fenced"]
        others = len(blocks) - len(fitting)
        notes += [f"beside {others} other block{'s' * (others > 1)}"] if fenced and others else []
        return block.text, "; ".join(notes)

    def _alone(self, kernel: Block, blocks: list[Block]) -> None:
        """_Rejected when the file needs another one of the answer."""
        others = {b.name for b in blocks if b is not kernel and b.name}
        for needed in _INCLUDE.findall(kernel.text):
            if needed.rpartition("/")[2] in others:
                raise _Rejected(
                    f"the kernel includes {needed}, another file of the answer; give one file "
                    "that needs no other"
                )
        stems = {n.removesuffix(".py") for n in others if n.endswith(".py")}
        for needed in _IMPORT.findall(kernel.text):
            if needed in stems:
                raise _Rejected(
                    f"the kernel imports {needed}, another file of the answer; give one file that "
                    "needs no other"
                )

    def _fits(self, text: str) -> bool:
        """Whether `text` is in the form that was asked for."""
        if self.form is Form.MODULE:
            return holds_module(text) and not holds_native(text)
        return holds_native(text)

    def _start(self) -> str:
        return PYTHON_START if self.backend.extension == ".py" else C_START

    def _nothing(self, read: Blocks, blocks: list[Block]) -> str:
        """Why none of the reply is in the form that was asked for."""
        if not blocks:
            if read.reasoning:
                return "the answer ends inside its reasoning; reason less, then give the file"
            words = read.prose.strip()
            language = _language(words)
            if language:
                return self._other(words, language)
            if not words:
                return f"the answer holds no file; give {self.what}"
            if _REFUSES.search(words[:_REFUSAL_WITHIN]):
                return f"the author declined: {self._beginning(words)}"
            if self.reply.finish == "length":
                return "the answer ends before the file begins; say less before it"
            return f"no code in {len(words)} characters of prose; give {self.what}"
        block = max(blocks, key=lambda b: (bool(_language(b.text)), len(b.text)))
        language = _language(block.text)
        if not block.closed and self.reply.finish == "length" and not language:
            return "the answer ends before the file is there; give the whole file, shorter"
        return self._other(block.text, language)

    def _other(self, text: str, language: str) -> str:
        """What is wrong with a text that is something else than what was asked for."""
        if self.form is not Form.MODULE:
            near = _NEAR_HEAD.search(text)
            if near:
                line = text.count("\n", 0, near.start()) + 1
                first = next(s for s in text.split("\n") if s.strip()).strip()[:60]
                return (
                    f"the head is not where it must be: line {line} of the file should be its "
                    f"first and say `{self._start()}`, nothing else; the file begins with `{first}`"
                )
        if holds_module(text):
            return f"the answer is a PyTorch file that defines ModelNew; give {self.what}"
        if holds_native(text):
            return f"the answer is a file with a head of launches; give {self.what}"
        if not language:
            return f"the code is no kernel in a language that is known here; give {self.what}"
        if self.form is Form.MODULE:
            return f"the answer is {language} without a class ModelNew; give {self.what}"
        if self.backend.title.split()[0] in language or self.backend.name in language.lower():
            return f"the file has no head that says how it is launched; give {self.what}"
        return f"the answer is {language}; give {self.what}"

    @staticmethod
    def _beginning(text: str) -> str:
        words = " ".join(text[:_REFUSAL_WITHIN].split())
        return words[:_SHOWN] + ("…" if len(words) > _SHOWN else "") or "it says nothing"


def _language(text: str) -> str:
    """What `text` is written in, as far as single words show; empty where none does."""
    if holds_module(text):
        return "PyTorch"
    return next((language for mark, language in _MARKS if mark in text), "")
