"""Backends by name, found by the entry point group `mkgen.backends`: ours as anyone else's."""

from __future__ import annotations

import functools
import inspect
from importlib.metadata import EntryPoint, entry_points

from mkgen.codegen.backend import Backend, Library
from mkgen.errors import UserError, nearest

GROUP = "mkgen.backends"


class _BrokenPluginError(Exception):
    """A plug-in that cannot be used; the text says why."""


def backends() -> dict[str, Backend]:
    """Every backend that can be loaded, by name. One that cannot is in `broken_backends`."""
    return _scan()[0]


def broken_backends() -> dict[str, str]:
    """Every backend whose plug-in fails to load, with the reason."""
    return _scan()[1]


@functools.cache
def libraries() -> tuple[Library, ...]:
    """Those that any backend knows: a text for one may call what another's vendor has."""
    return tuple(dict.fromkeys(x for backend in backends().values() for x in backend.libraries))


@functools.cache
def marks() -> tuple[str, ...]:
    """Words that tell a text of any backend's language."""
    return tuple(dict.fromkeys(mark for backend in backends().values() for mark in backend.marks))


def backend_named(name: str) -> Backend:
    """The backend called `name`; no other plug-in is imported. UserError when there is none."""
    found = _entries()
    if name not in found:
        hint = nearest(name, found) if found else " None is installed: pip install mkgen."
        raise UserError(f"no backend {name!r}.{hint}")
    try:
        return _load(found[name])
    except _BrokenPluginError as error:
        raise UserError(f"backend {name!r} cannot be used: {error}") from error


def _scan() -> tuple[dict[str, Backend], dict[str, str]]:
    good: dict[str, Backend] = {}
    broken: dict[str, str] = {}
    for name, entry in sorted(_entries().items()):
        try:
            good[name] = _load(entry)
        except _BrokenPluginError as error:
            broken[name] = str(error)
    return good, broken


def _entries() -> dict[str, EntryPoint]:
    # The first on sys.path wins, as for modules: an editable install may be listed twice.
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        found.setdefault(entry.name, entry)
    return found


def _load(entry: EntryPoint) -> Backend:
    try:
        loaded = entry.load()
        if not (inspect.isclass(loaded) and issubclass(loaded, Backend)):
            raise _BrokenPluginError(f"{entry.value} is not a subclass of Backend")
        backend: Backend = loaded()
    except _BrokenPluginError:
        raise
    except Exception as error:  # a plug-in may raise anything; the others must go on
        raise _BrokenPluginError(
            f"{entry.value} fails to load: {type(error).__name__}: {error}"
        ) from error
    if backend.name != entry.name:
        raise _BrokenPluginError(
            f"{entry.value} calls itself {backend.name!r}, its entry point {entry.name!r}"
        )
    return backend
