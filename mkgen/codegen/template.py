"""Templates: one Jinja2 file each, with TOML front matter between `+++` lines."""

from __future__ import annotations

import importlib.util
import itertools
import math
import os
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal

import jinja2
import jinja2.sandbox
from pydantic import ValidationError, field_validator

from mkgen.document import Document
from mkgen.errors import UserError
from mkgen.expression import evaluate, parse
from mkgen.ir.kernel import Kernel, KernelKind
from mkgen.program import Dtype, PrecisionClass
from mkgen.reading import read_text, toml
from mkgen.share import share_root

#: Entry points that name a package with templates: `cpp = "mkgen_cpp:templates"`, a directory.
PLUGIN_GROUP = "mkgen.templates"

#: Choices of parameters that a search looks at, legal or not.
_MOST_SETS = 100_000

ParameterValue = int | str | bool
Parameters = dict[str, ParameterValue]


class LaunchSpec(Document):
    """Launch expressions over parameters, sizes and the extents rows, cols, depth, batch."""

    grid: tuple[str, ...]
    """x first."""
    block: tuple[str, ...] = ("1",)
    """Threads along each axis (C dialects)."""
    dynamic_shared: str = "0"
    """Bytes (C dialects)."""
    constexprs: dict[str, str] = {}
    """Kernel arguments that are compile-time constants, in order (Triton)."""
    warps: str = "4"
    stages: str = "2"


class CostSpec(Document):
    """What a kernel costs, over parameters, extents, and input_bytes, output_bytes, passes."""

    bytes: str = "input_bytes + output_bytes"
    """Moved between memory and the chip, re-reads included."""
    operations: str = "rows"
    """Floating-point operations."""
    efficiency: str = "100"
    """Percent of the peak rate that the inner loop can reach."""


class TemplateSpec(Document):
    """The front matter of a template."""

    kind: KernelKind
    """The form of kernel it renders."""
    summary: str
    dialect: str
    tags: tuple[str, ...] = ()
    """Only kernels with one of these tags; empty means any. A tag match outranks none."""
    dtypes: tuple[Dtype, ...]
    precision: tuple[PrecisionClass, ...] = (PrecisionClass.STRICT,)
    parameters: dict[str, tuple[int | str | bool, ...]] = {}
    """Name -> values to sweep."""
    constraints: tuple[str, ...] = ()
    """Over parameters, extents, and the profile's threads_per_block, shared_bytes, sub_group."""
    requirements: tuple[str, ...] = ()
    """What check and held-out sizes must show: loops of two rounds, tails."""
    shared_bytes: str = "0"
    """Static shared memory of one block, for estimates before anything is compiled."""
    index_bits: tuple[Literal[32, 64], ...] = (32, 64)
    fallback: bool = False
    """Takes almost any kernel of its kind, slowly: only where no other template can."""
    targets: tuple[str, ...] = ()
    """Only these archs; empty means every arch of the dialect."""
    launch: LaunchSpec
    cost: CostSpec = CostSpec()

    @field_validator("parameters")
    @classmethod
    def _countable(
        cls, parameters: dict[str, tuple[ParameterValue, ...]]
    ) -> dict[str, tuple[ParameterValue, ...]]:
        sets = math.prod(len(values) for values in parameters.values())
        if sets > _MOST_SETS:
            raise ValueError(f"{sets} sets of parameters to sweep; {_MOST_SETS} are allowed")
        return parameters


class Template:
    """A template file: its spec and its body."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        self.name = path.relative_to(root).with_suffix("").as_posix()
        text = read_text(path, f"template {path}")
        self.spec, self.body = _split(path, text)
        self.expressions = [parse(c) for c in self.spec.constraints]
        self.requirements = [parse(c) for c in self.spec.requirements]

    def accepts(self, kernel: Kernel, arch: str, dtypes: set[str]) -> bool:
        """Whether this template can render `kernel` for `arch`."""
        spec = self.spec
        return (
            spec.kind == kernel.kind
            and (not spec.tags or kernel.tag in spec.tags)
            and dtypes <= set(spec.dtypes)
            and (not spec.targets or arch in spec.targets)
        )

    def parameter_sets(self, facts: Mapping[str, int]) -> Iterator[Parameters]:
        """Every legal choice of parameters, given sizes and limits in `facts`."""
        names = list(self.spec.parameters)
        for values in itertools.product(*self.spec.parameters.values()):
            choice: Parameters = dict(zip(names, values, strict=True))
            if self.legal(choice, facts):
                yield choice

    def legal(self, choice: Parameters, facts: Mapping[str, int]) -> bool:
        """Whether every constraint holds for `choice`."""
        known = {**facts, **choice}
        return all(evaluate(e, known) for e in self.expressions)


def _split(path: Path, text: str) -> tuple[TemplateSpec, str]:
    parts = text.split("+++\n", 2)
    if len(parts) != 3 or parts[0].strip():
        raise UserError(f"template {path}: it must start with TOML front matter between +++ lines")
    document = toml(parts[1], f"template {path}")
    try:
        return TemplateSpec.model_validate(document), parts[2]
    except ValidationError as error:
        raise UserError(f"template {path}: {error}") from error


def template_roots() -> tuple[Path, ...]:
    """Directories that hold templates: those in MKGEN_TEMPLATES (os.pathsep between), then ours.

    Last come those that plug-ins bring by the entry point group `mkgen.templates`.
    """
    extra = [Path(p) for p in os.environ.get("MKGEN_TEMPLATES", "").split(os.pathsep) if p]
    return (*extra, share_root("templates"), *_plugin_roots())


@cache
def _plugin_roots() -> tuple[Path, ...]:
    """`templates` beside the package that each entry point of the group names."""
    found = []
    for entry in sorted(entry_points(group=PLUGIN_GROUP)):
        spec = importlib.util.find_spec(entry.module)
        if spec is None or spec.origin is None:
            raise UserError(
                f"{entry.value}, which brings templates as {entry.name!r}, is not installed whole; "
                "install it again"
            )
        found.append(Path(spec.origin).parent / (entry.attr or "templates"))
    return tuple(dict.fromkeys(found))


@cache
def _load(roots: tuple[Path, ...]) -> tuple[Template, ...]:
    found: dict[str, Template] = {}
    for root in roots:
        if not root.is_dir():
            raise UserError(f"template directory {root} does not exist (MKGEN_TEMPLATES)")
        for path in sorted(root.glob("*/*.j2")):
            if not path.name.startswith("_"):
                template = Template(path, root)
                found.setdefault(template.name, template)
    return tuple(found.values())


def templates() -> tuple[Template, ...]:
    """Every template; one from MKGEN_TEMPLATES replaces ours of the same name."""
    return _load(template_roots())


def templates_for(
    kernel: Kernel, dialect: str, arch: str, dtypes: set[str]
) -> tuple[Template, ...]:
    """Templates of `dialect` that accept `kernel`, those made for its tag or arch first."""
    fitting = [
        t for t in templates() if t.spec.dialect == dialect and t.accepts(kernel, arch, dtypes)
    ]
    return tuple(sorted(fitting, key=lambda t: (not t.spec.targets, not t.spec.tags, t.name)))


def environment() -> jinja2.Environment:
    """A sandboxed Jinja2 in which an unknown name is an error."""
    return _environment(template_roots())


def compiled(body: str) -> jinja2.Template:
    """A template's body ready to render; compiled once, because a search renders it often."""
    return _compiled(template_roots(), body)


@cache
def _compiled(roots: tuple[Path, ...], body: str) -> jinja2.Template:
    return _environment(roots).from_string(body)


@cache
def _environment(roots: tuple[Path, ...]) -> jinja2.Environment:
    made = jinja2.sandbox.SandboxedEnvironment(
        loader=jinja2.FileSystemLoader([str(r) for r in roots]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return made
