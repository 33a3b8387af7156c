"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from mkgen.errors import UserError

F = TypeVar("F", bound=Callable[..., Any])

KINDS = ("compiled", "emulated", "sanitized", "proxy", "device", "timed")
#: As in mkgen.llm.prompt, which is not imported for --help.
STRATEGIES = ("zero-shot", "one-shot", "category", "category+hints")
FORMS = ("native", "template", "module")
PRECISIONS = ("strict", "tf32", "bf16")

json_output = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout."
)
shape = click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="INPUT=D,D,…",
    help="Shape of an input, x=32,64,56,56; sizes of the other inputs follow. Repeatable.",
)
dtype = click.option(
    "--dtype",
    metavar="DTYPE",
    help="float64, float32, float16 or bfloat16 for every floating-point input; refused where the "
    "target has no such kernels.",
)
precision = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="strict: as accurate as PyTorch (the default, unless the task says otherwise).",
)
device = click.option("--device", "on_device", is_flag=True, help="Also run on a device here.")
sanitize = click.option(
    "--sanitize",
    is_flag=True,
    help="Also run it, at check sizes, where races, wild accesses and unwritten values are seen.",
)
require = click.option(
    "--require",
    "required",
    multiple=True,
    type=click.Choice(KINDS),
    help="A kind of evidence without which there is no pass. Repeatable.",
)
compare = click.option(
    "--compare",
    "compared",
    multiple=True,
    type=click.Choice(("eager", "compile")),
    help="Time PyTorch's reference beside it, with --require timed: eager, or by torch.compile. "
    "Repeatable.",
)
seed = click.option("--seed", default=0, show_default=True, help="Seed of the inputs.")
timeout = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds one compilation or run may take (300; a run of a text not mkgen's own: 120).",
)

strategy = click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default="category",
    show_default=True,
    help="What the prompt shows: no exemplar, one for all tasks, the nearest of the category, that "
    "with the cost model's hints.",
)
memory = click.option(
    "--memory/--no-memory",
    default=True,
    show_default=True,
    help="Whether prompts hold a few lines of what worked and failed in earlier runs here.",
)
form = click.option(
    "--form",
    type=click.Choice(FORMS),
    default="native",
    show_default=True,
    help="What is asked for: a native file, one with parameters to sweep, a ModelNew file.",
)


def _choose_compilers(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> None:
    """Lets backends use the compilers named on the command line until the command ends."""
    from mkgen.codegen.external import check_executable, compilers
    from mkgen.codegen.registry import backend_named, backends

    chosen: dict[str, Path] = {}
    for text in values:
        name, separator, path = text.partition("=")
        if not separator or not path:
            raise UserError(
                f"--toolchain {text}: write BACKEND=PATH, as in hip=/opt/rocm/bin/hipcc"
            )
        if not backend_named(name).compilers:
            taking = ", ".join(n for n, b in backends().items() if b.compilers)
            raise UserError(f"--toolchain: {name} runs no compiler of its own choice; {taking} do")
        if name in chosen:
            raise UserError(f"--toolchain {name} is given twice")
        chosen[name] = check_executable(Path(path))
    context.with_resource(compilers(chosen))


toolchain = click.option(
    "--toolchain",
    multiple=True,
    metavar="BACKEND=PATH",
    expose_value=False,
    callback=_choose_compilers,
    help="Compile with this binary: hip=hipcc|clang, cuda=nvcc, sycl=icpx, opencl=ocloc. "
    "Repeatable.",
)


def jobs(default: int) -> Callable[[F], F]:
    """`-j`, how many workers of a kind run at once."""
    return click.option(
        "-j",
        "--jobs",
        type=click.IntRange(min=1),
        default=default,
        show_default=True,
        help="Workers of one kind at the same time.",
    )


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, in the order in which help lists them."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
