"""What trips the wires in a text of the C family: words, never what comments and strings say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mkgen.codegen.backend import Library
from mkgen.evaluate import torch_names

#: Headers that any kernel may include: what a language itself brings, nothing that computes.
STANDARD_HEADERS = frozenset(
    ("assert.h", "cassert", "cfloat", "climits", "cmath", "cstddef", "cstdint", "cstdio", "cstring",
     "float.h", "limits", "limits.h", "math.h", "stddef.h", "stdint.h", "stdio.h", "string.h",
     "type_traits", "utility", "vector", "algorithm", "array", "tuple", "string")
)  # fmt: skip

#: Functions of the host's system, of which a kernel needs none.
_SYSTEM = frozenset(
    ("system", "popen", "fork", "vfork", "clone", "clone3", "execl", "execle", "execlp", "execv",
     "execve", "execvp", "execvpe", "posix_spawn", "posix_spawnp", "dlopen", "dlmopen", "dlsym",
     "dl_iterate_phdr", "ptrace", "syscall", "mmap", "mprotect", "process_vm_readv",
     "process_vm_writev", "socket", "connect", "fopen", "freopen", "fdopen", "openat", "getenv",
     "setenv", "_exit", "_Exit", "quick_exit", "exit", "atexit", "on_exit", "sigaction",
     "pthread_create", "thrd_create", "longjmp", "setjmp")
)  # fmt: skip
#: Of the standard interface to BLAS, whoever wrote it.
_CBLAS = "cblas_"
_ASSEMBLER = frozenset(("asm", "__asm__", "__asm"))
_SYSTEM_CALL = re.compile(r"\b(syscall|sysenter|int\s*\$?0x80|svc)\b", re.IGNORECASE)
_SECTION = re.compile(r"\.(init|fini|ctors|dtors|preinit)")
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_NUMBER = re.compile(r"[0-9](?:[\w.]|(?<=[eEpP])[+-]|'(?=\w))*")
_RAW = re.compile(r'(?:u8|[LuU])?R"([^ ()\\\t\n]{0,16})\(')


@dataclass(frozen=True)
class Allowed:
    """What a text may say beside the language itself."""

    headers: frozenset[str] = frozenset()
    """Beside `STANDARD_HEADERS`."""
    libraries: bool = False
    """Whether a library may compute it."""
    known: tuple[Library, ...] = ()
    """The libraries that are known when none may."""

    def library(self, word: str, *, scoped: bool) -> str:
        """What of a library `word` is; empty when it is nothing, or may be. `scoped`: `word::`."""
        if self.libraries:
            return ""
        if word.lower().startswith((_CBLAS, *(w for x in self.known for w in x.words))):
            return f"{word}: a library computes it"
        if scoped and any(word in x.namespaces for x in self.known):
            return f"{word}::, a library's kernels"
        return ""


@dataclass(frozen=True)
class Token:
    """A word, a string without its quotes, a line that begins with #, or one other character."""

    kind: str
    text: str
    line: int


def tokens(text: str) -> Iterator[Token]:
    """The tokens of `text` outside comments; takes time in proportion to its length."""
    at, line, fresh = 0, 1, True
    while at < len(text):
        letter = text[at]
        if text.startswith(("//", "/*"), at):
            close = text.find("\n", at) if text[at + 1] == "/" else text.find("*/", at + 2) + 2
            end = close if close > at + 1 else len(text)
        elif text.startswith("\\\n", at) or letter.isspace():
            fresh = fresh or letter == "\n"
            end = at + (2 if letter == "\\" else 1)
        elif letter == "#" and fresh:
            end = _end_of_line(text, at)
            spliced = text[at:end].replace("\\\n", "")
            yield Token("directive", spliced, line)
            # what a macro stands for is code like any other
            define = re.match(r"#\s*define\s+\w+(\([^)\n]*\))?", text[at:end])
            end = at + define.end() if define else end
            fresh = False
        else:
            kind, end = _token(text, at)
            body = text[at:end].replace("\\\n", "")
            yield Token(kind, body[1:-1] if kind == "string" else body, line)
            fresh = False
        line += text.count("\n", at, end)
        at = end


def _token(text: str, at: int) -> tuple[str, int]:
    """Kind and end of the token that begins at `at`."""
    letter = text[at]
    if letter in "\"'":
        return "string", _end_of_string(text, at)
    raw = _RAW.match(text, at)
    if raw:
        close = text.find(f'){raw[1]}"', raw.end())
        return "string", len(text) if close < 0 else close + len(raw[1]) + 2
    number = _NUMBER.match(text, at)
    if number:
        return "number", number.end()
    end, word = at, _WORD.match(text, at)
    while word:  # a word may go on behind a spliced line
        end = word.end()
        word = re.compile(r"\\\n[\w$]+").match(text, end)
    return ("word", end) if end > at else ("sign", at + 1)


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    while end > 0 and text[end - 1] == "\\":
        end = text.find("\n", end + 1)
    return len(text) if end < 0 else end


def _end_of_string(text: str, at: int) -> int:
    end = at + 1
    while end < len(text) and text[end] not in (text[at], "\n"):
        end += 2 if text[end] == "\\" else 1
    return min(end + 1, len(text))


def findings(text: str, allowed: Allowed) -> Iterator[tuple[int, str]]:
    """(line, what it is) of everything in `text` that no kernel of its own needs."""
    found = list(tokens(text))
    for at, token in enumerate(found):
        rest = [t.text for t in found[at + 1 : at + 4]]
        if token.kind == "directive":
            yield from _directive(token, allowed)
        elif token.kind == "word":
            reason = _word(token.text, rest, allowed)
            if token.text in _ASSEMBLER and _calls_system(found, at):
                reason = "a system call in assembler"
            if reason:
                yield token.line, reason
        elif token.kind == "string" and _SECTION.match(token.text):
            yield token.line, f"code that runs when it is loaded (section {token.text[:40]})"


def _directive(token: Token, allowed: Allowed) -> Iterator[tuple[int, str]]:
    include = re.match(r"#\s*(include_next|include|import|embed)\b\s*(.*)", token.text)
    if not include:
        return
    named = re.match(r"[<\"]([^>\"]*)[>\"]", include[2])
    header = named[1] if named else include[2].strip()
    if include[1] != "include" or named is None:
        yield token.line, f"#{include[1]} {header[:60]}"
    elif header not in STANDARD_HEADERS | allowed.headers and not allowed.libraries:
        yield token.line, f"#include of {header[:60]}, which is not on the list"


def _calls_system(found: list[Token], at: int) -> bool:
    """Whether the assembler that begins at token `at` makes a system call."""
    for token in found[at + 1 : at + 200]:
        if token.text == ";" and token.kind == "sign":
            return False
        if token.kind == "string" and _SYSTEM_CALL.search(token.text):
            return True
    return False


def _word(word: str, rest: list[str], allowed: Allowed) -> str:
    """What is wrong with `word` before the tokens `rest`; empty when nothing is."""
    follows = rest[0] if rest else ""
    if word in _SYSTEM and follows == "(":
        return f"{word}(), a function of the host's system"
    if word in ("constructor", "destructor", "ifunc", "init_priority") and follows in (
        ")",
        "(",
        "]",
    ):
        return f"code that runs when it is loaded (attribute {word})"
    scoped = rest[:2] == [":", ":"]
    if word == "std" and rest[2:3] in (["thread"], ["jthread"], ["async"], ["system"]) and scoped:
        return f"std::{rest[2]}"
    found = allowed.library(word, scoped=scoped)
    if found or allowed.libraries:
        return found
    if word in ("torch", "at", "aten") and scoped:
        name = "".join(rest[2:3])
        if not torch_names.CPP.fullmatch(name):
            return f"{word}::{name}, which PyTorch computes"
    return ""
