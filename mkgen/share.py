"""Where templates, tasks and hardware profiles lie: installed, or in the repository."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def share_root(kind: str) -> Path:
    """The directory of `kind`: `templates`, `tasks` or `hardware_profiles`."""
    installed = _PACKAGE / "_share" / kind
    return installed if installed.is_dir() else _PACKAGE.parent / kind
