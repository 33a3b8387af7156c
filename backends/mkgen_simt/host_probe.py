"""Whether the C family's text can be executed on this machine's CPU."""

from __future__ import annotations

import shutil
from pathlib import Path

from mkgen.codegen.backend import Ability
from mkgen_simt.cuda_headers import site_roots


def host_ability() -> Ability:
    """Whether a C++ compiler for SIMT-on-host is here; looks at files only."""
    # in the order in which mkgen_simt.build takes them
    tried = ["ziglang"]
    if zig_binary() is not None:
        return Ability(True, "SIMT-on-host, built by zig c++", tuple(tried))
    for name in ("clang++", "g++"):
        tried.append(name)
        path = shutil.which(name)
        if path is not None:
            return Ability(True, f"SIMT-on-host, built by {Path(path).name}", tuple(tried))
    return Ability(
        False,
        tried=tuple(tried),
        reason="no C++ compiler for this CPU was found",
        remedy="pip install ziglang",
    )


def zig_binary() -> Path | None:
    """The compiler inside the ziglang wheel."""
    for root in site_roots():
        if (root / "ziglang/zig").is_file():
            return root / "ziglang/zig"
    return None
