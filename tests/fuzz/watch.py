"""While data is parsed nothing may be run, imported or opened: an audit hook sees to it."""

from __future__ import annotations

import ast
import encodings.unicode_escape
import os
import symtable
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from mkgen.evaluate.seen import state_directory

from .surface import ROOT, scratch

#: Events that no parser of data has a reason for.
_REFUSED = frozenset(
    ["exec", "import", "marshal.loads", "marshal.load", "pickle.find_class", "code.__new__",
     "function.__new__", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn",
     "os.fork", "os.forkpty", "os.startfile", "pty.spawn", "os.kill", "os.killpg", "os.putenv",
     "os.unsetenv", "ctypes.dlopen", "webbrowser.open", "urllib.Request"]
)  # fmt: skip
#: Events about a path, which has to lie in the scratch directory.
_OF_PATHS = frozenset(
    ["open", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.link",
     "os.symlink", "os.truncate", "os.utime", "os.listdir", "os.scandir", "shutil.rmtree",
     "tempfile.mkstemp", "tempfile.mkdtemp"]
)  # fmt: skip
_OWN = str(ROOT / "hardware_profiles")
#: Modules that Python's parser loads when a string has an escape; loaded here, before it does.
_LOADED = (encodings.unicode_escape, unicodedata)
_armed = False
_allowed = ""
_seen: list[str] = []


class Forbidden(BaseException):
    """A parser did what it must not; a BaseException, so that no parser takes it for its own."""


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    global _armed
    if not _armed:
        return
    if event == "compile":
        # these compile to a tree (PyCF_ONLY_AST) or a table of names, never to code
        harmless = (ast.parse.__code__, symtable.symtable.__code__)
        fault = "" if sys._getframe(1).f_code in harmless else "compile"
    elif event in _REFUSED or event.startswith("socket."):
        fault = event
    elif event in _OF_PATHS:
        fault = "" if _is_allowed(event, arguments) else f"{event} {arguments[0]!r}"
    else:
        return
    if fault:
        _armed = False  # what reports it may import and open
        _seen.append(f"{fault} {arguments!r}"[:300])
        raise Forbidden(_seen[-1])


def _is_allowed(event: str, arguments: tuple[object, ...]) -> bool:
    path = arguments[0]
    if event == "open" and path == "":  # opens nothing: see mkgen.reading
        return True
    if event in ("os.remove", "os.rmdir") and isinstance(arguments[-1], int) and arguments[-1] >= 0:
        path = os.readlink(f"/proc/self/fd/{arguments[-1]}")  # relative to an open directory
    # mkgen's own files are read by names of its own, beside the user's
    reads = event in ("open", "os.listdir", "os.scandir") and "w" not in str(arguments[1:2])
    places = (_allowed, _OWN, str(state_directory())) if reads else (_allowed,)
    # a name without a directory is opened in one that was opened before, which was looked at
    inside = event == "open" and str(path) == os.path.basename(str(path))
    return isinstance(path, int) or inside or str(path).startswith(places)


sys.addaudithook(_hook)


@contextmanager
def watched() -> Iterator[None]:
    """Within it, a forbidden event raises Forbidden; also when the parser has swallowed it."""
    global _armed, _allowed
    _allowed = str(scratch())
    _seen.clear()
    _armed = True
    try:
        yield
    finally:
        _armed = False
    if _seen:
        raise Forbidden(_seen[0])
