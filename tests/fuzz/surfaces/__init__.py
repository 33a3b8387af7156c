"""Every surface, by name: a module of this package each, with a `SURFACE`."""

from __future__ import annotations

import importlib
import pkgutil

from ..surface import Surface


def surfaces() -> dict[str, Surface]:
    """All surfaces, in the order of their modules' names."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    found = (importlib.import_module(f".{name}", __package__).SURFACE for name in names)
    return {surface.name: surface for surface in found}
