"""`mkgen targets`: every backend:arch, and what templates take there."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import click

from mkgen.cli import options
from mkgen.cli.present import emit, say, table
from mkgen.codegen.backend import Backend
from mkgen.codegen.capability import DTYPES, KINDS, Support, support
from mkgen.codegen.registry import backend_named, backends, broken_backends
from mkgen.codegen.template import Template, templates
from mkgen.errors import UserError, nearest
from mkgen.profile import profiles
from mkgen.program import PrecisionClass


@click.command("targets")
@click.argument("what", required=False, type=click.Choice(["show"]), metavar="[show]")
@click.argument("backend", required=False, metavar="[BACKEND[:ARCH]]")
@options.json_output
def command(what: str | None, backend: str | None, as_json: bool) -> int:
    """List every target (BACKEND:ARCH), and the device whose limits and rates it is planned for.

    `default` marks the arch that --backend alone means. A target can name another device of the
    same arch: cuda:sm_90a@h200.

    `mkgen targets show [BACKEND[:ARCH]]` says what is supported: kinds of kernel by dtype, and the
    templates. What is not is listed with its reason; asking for it ends with exit code 2. Last come
    the PyTorch operations that can be lowered, which are the same for every backend.

    \b
    mkgen targets
    mkgen targets show hip:gfx942
    """
    backend, _, arch = (backend or "").partition(":")
    found = {backend: backend_named(backend)} if backend else backends()
    broken = {} if backend else broken_backends()
    if what == "show":
        documents = [_takes(b, _arch(b, arch)) for b in found.values()]
        operations = _operations()
        if as_json:
            emit({"backends": documents, "operations": operations, "broken": broken})
        else:
            for document in documents:
                _show(document)
            say(f"PyTorch operations with a lowering ({len(operations)}):")
            for line in textwrap.wrap(", ".join(operations), 96, break_on_hyphens=False):
                say(f"  {line}")
    else:
        rows = [row for b in found.values() for row in _rows(b)]
        if as_json:
            emit({"targets": rows, "broken": broken})
        else:
            heads = ("target", "arch", "planned for (hardware profile)", "default")
            table(heads, [[str(v) for v in row.values()] for row in rows])
            say("`mkgen targets show TARGET` says what is supported there.")
    if not as_json:
        for name, reason in broken.items():
            say(f"backend {name} is broken: {reason}")
    return 0


def _rows(backend: Backend) -> list[dict[str, str]]:
    known = profiles()
    rows = []
    for arch in backend.archs.values():
        profile = known.get(arch.profile)
        shown = f"{arch.profile} ({profile.title})" if profile else arch.profile
        default = "default" if arch.name == backend.default_arch else ""
        rows.append(
            {
                "target": f"{backend.name}:{arch.name}",
                "title": arch.title,
                "profile": shown,
                "default": default,
            }
        )
    return rows


def _arch(backend: Backend, arch: str) -> str:
    """The arch asked for, else the usual one. UserError for one that `backend` has not."""
    if arch and arch not in backend.archs:
        raise UserError(
            f"backend {backend.name} has no arch {arch!r}.{nearest(arch, backend.archs)}"
        )
    return arch or backend.default_arch


def _takes(backend: Backend, arch: str) -> dict[str, Any]:
    """What the templates of `backend` take on `arch`, and what none of them does, with reasons."""
    own = [
        t for t in templates()
        if t.spec.dialect == backend.dialect and (not t.spec.targets or arch in t.spec.targets)
    ]  # fmt: skip
    cells = support(backend, arch)
    lines = _reasons(cells)
    for kind in KINDS:
        narrow = [c for c in cells if c.kind == kind and c.ok and 64 not in c.index_bits]
        if narrow:
            lines.append(f"no 64-bit indices in {kind} kernels: below 2**31 elements only")
    for precision in PrecisionClass:
        if not any(precision in t.spec.precision for t in own):
            lines.append(f"--precision {precision.value}")
    return {
        "backend": backend.name,
        "arch": arch,
        "dialect": backend.dialect,
        "dtypes": sorted({c.dtype for c in cells if c.ok}),
        "kinds": {kind: {c.dtype: c.word for c in cells if c.kind == kind} for kind in KINDS},
        "templates": [_template(t) for t in own],
        "unsupported": lines,
    }


def _reasons(cells: Sequence[Support]) -> list[str]:
    """What is not there, or held otherwise than asked for: one line per reason."""
    by_dtype: dict[tuple[str, bool, str], list[str]] = {}
    for cell in cells:
        if cell.reason:
            by_dtype.setdefault((cell.dtype, cell.ok, cell.reason), []).append(cell.kind)
    grouped: dict[tuple[tuple[str, ...], bool, str], list[str]] = {}
    for (dtype, ok, reason), kinds in by_dtype.items():
        grouped.setdefault((tuple(kinds), ok, reason), []).append(dtype)
    lines = []
    for (kinds_of, ok, reason), dtypes in grouped.items():
        where = "" if len(kinds_of) == len(KINDS) else f" in {', '.join(kinds_of)} kernels"
        what = "any dtype" if len(dtypes) == len(DTYPES) else ", ".join(dtypes)
        lines.append(f"{what}{where}: {reason}" if ok else f"no {what}{where}: {reason}")
    return lines


def _template(template: Template) -> dict[str, Any]:
    spec = template.spec
    return {
        "name": template.name,
        "kind": spec.kind,
        "summary": spec.summary,
        "dtypes": list(spec.dtypes),
        "precision": [p.value for p in spec.precision],
        "tags": list(spec.tags),
        "fallback": spec.fallback,
        "archs": list(spec.targets),
        "parameters": {k: list(v) for k, v in spec.parameters.items()},
    }


def _operations() -> list[str]:
    from mkgen.frontend.lower import TABLE, load_families

    load_families()
    return sorted(TABLE)


def _show(document: dict[str, Any]) -> None:
    rows = [
        [
            t["name"], t["kind"] + (" (fallback)" if t["fallback"] else ""),
            ", ".join(t["dtypes"]), ", ".join(t["precision"]),
            ", ".join(t["tags"]) or "any", ", ".join(t["archs"]) or "all",
            ", ".join(f"{k} {len(v)}" for k, v in t["parameters"].items()) or "none",
        ]
        for t in document["templates"]
    ]  # fmt: skip
    heads = ("template", "kind", "dtypes", "precision", "tags", "archs", "parameters (values)")
    target = f"{document['backend']}:{document['arch']}"
    table(heads, rows, title=f"{target} (dialect {document['dialect']})")
    kinds = document["kinds"]
    table(
        ("kernels", *DTYPES),
        [[kind, *(kinds[kind][dtype] for dtype in DTYPES)] for kind in KINDS],
    )
    say("not supported, or otherwise than asked for (*):")
    for line in document["unsupported"] or ["nothing known"]:
        say(f"  {line}")
    say("")
