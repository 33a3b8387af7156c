"""Errors that name the cause and the remedy, each with the exit code of DESIGN's contract."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_FAILED = 1
EXIT_INPUT = 2
EXIT_MISSING = 3
EXIT_INTERNAL = 4
EXIT_INTERRUPTED = 130

#: The time that looking for a similar name takes grows with the square of its length.
_LONGEST_NAME = 200


class MkgenError(Exception):
    """Base of everything mkgen raises on purpose."""

    exit_code = EXIT_INTERNAL


class UserError(MkgenError):
    """The input is wrong: an unknown name, a broken task file, a refused shape."""

    exit_code = EXIT_INPUT


class UnsupportedError(UserError):
    """An operation or combination mkgen does not generate; names it and the user's line."""


class MissingError(MkgenError):
    """A toolchain, driver or device is not here; says how to get it."""

    exit_code = EXIT_MISSING


class CompileError(MkgenError):
    """A compiler refused a program; `log` is what it printed."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class WrongArchError(CompileError):
    """A compiler gave an artifact that does not hold the arch that was asked for."""


class ExecutionError(MkgenError):
    """A program could not be loaded or run; the message says what happened."""

    exit_code = EXIT_FAILED


class InputChangedError(ExecutionError):
    """A program wrote to an array that it may only read."""


class SanitizerError(ExecutionError):
    """A sanitizer saw a race, a wild access or an unwritten value; names the kernel's line."""


class RefusedError(MkgenError):
    """A program is no kernel of its own: nothing that it launches computes the task."""

    exit_code = EXIT_FAILED


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'conv2d'?` or, with nothing near, ` Known: a, b, c.`"""
    names = sorted(known)
    close = difflib.get_close_matches(name[:_LONGEST_NAME], names, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(names) or 'none'}."
