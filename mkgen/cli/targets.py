"""`mkgen targets`: every backend:arch, and what templates take there."""

from __future__ import annotations

from typing import Any

import click

from mkgen.cli import options
from mkgen.cli.present import emit, say, table
from mkgen.codegen.backend import Backend
from mkgen.codegen.registry import backend_named, backends, broken_backends
from mkgen.codegen.template import Template, templates
from mkgen.profile import profiles
from mkgen.program import PrecisionClass

KINDS = ("pointwise", "rowwise", "contraction", "window")


@click.command("targets")
@click.argument("what", required=False, type=click.Choice(["show"]), metavar="[show]")
@click.argument("backend", required=False)
@options.json_output
def command(what: str | None, backend: str | None, as_json: bool) -> int:
    """List every backend:arch with its device profile.

    `mkgen targets show [BACKEND]` says what the templates of each take: kinds of kernel, dtypes,
    precision classes; combinations that nothing takes are named. It ends with the PyTorch
    operations that have a lowering.
    """
    found = {backend: backend_named(backend)} if backend else backends()
    broken = {} if backend else broken_backends()
    if what == "show":
        documents = [_takes(b) for b in found.values()]
        if as_json:
            emit({"backends": documents, "operations": _operations(), "broken": broken})
        else:
            for document in documents:
                _show(document)
            say("PyTorch operations with a lowering:\n  " + ", ".join(_operations()))
    else:
        rows = [row for b in found.values() for row in _rows(b)]
        if as_json:
            emit({"targets": rows, "broken": broken})
        else:
            heads = ("target", "arch", "device profile", "default")
            table(heads, [[str(v) for v in row.values()] for row in rows])
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


def _takes(backend: Backend) -> dict[str, Any]:
    """What the templates of `backend`'s dialect take, and what none of them does."""
    own = [t for t in templates() if t.spec.dialect == backend.dialect]
    dtypes = sorted({d for t in own for d in t.spec.dtypes} & backend.dtypes)
    unsupported = []
    for kind in KINDS:
        fitting = [t for t in own if t.spec.kind == kind]
        if not fitting:
            unsupported.append(f"{kind} kernels")
            continue
        taken = {d for t in fitting for d in t.spec.dtypes}
        lacking = sorted(backend.dtypes - taken)
        if lacking:
            unsupported.append(f"{kind} over {', '.join(lacking)}")
        everywhere = [t for t in fitting if not t.spec.targets]
        lost = set(backend.archs) - {a for t in fitting for a in t.spec.targets}
        if not everywhere and lost:
            unsupported.append(f"{kind} on {', '.join(sorted(lost))}")
    for precision in PrecisionClass:
        if not any(precision in t.spec.precision for t in own):
            unsupported.append(f"--precision {precision.value}")
    return {
        "backend": backend.name,
        "dialect": backend.dialect,
        "dtypes": dtypes,
        "templates": [_template(t) for t in own],
        "unsupported": unsupported,
    }


def _template(template: Template) -> dict[str, Any]:
    spec = template.spec
    return {
        "name": template.name,
        "kind": spec.kind,
        "summary": spec.summary,
        "dtypes": list(spec.dtypes),
        "precision": [p.value for p in spec.precision],
        "tags": list(spec.tags),
        "archs": list(spec.targets),
        "parameters": {k: list(v) for k, v in spec.parameters.items()},
    }


def _operations() -> list[str]:
    from mkgen.frontend import contraction, index, pointwise, reduction, window
    from mkgen.frontend.lower import TABLE

    assert all((contraction, index, pointwise, reduction, window))  # importing them fills TABLE
    return sorted(TABLE)


def _show(document: dict[str, Any]) -> None:
    rows = [
        [
            t["name"], t["kind"], ", ".join(t["dtypes"]), ", ".join(t["precision"]),
            ", ".join(t["tags"]) or "any", ", ".join(t["archs"]) or "all",
            ", ".join(f"{k} {len(v)}" for k, v in t["parameters"].items()) or "none",
        ]
        for t in document["templates"]
    ]  # fmt: skip
    heads = ("template", "kind", "dtypes", "precision", "anchor", "archs", "parameters (values)")
    table(heads, rows, title=f"{document['backend']} (dialect {document['dialect']})")
    say("not supported: " + ("; ".join(document["unsupported"]) or "nothing known") + "\n")
