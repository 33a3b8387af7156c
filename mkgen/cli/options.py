"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

KINDS = ("compiled", "emulated", "sanitized", "proxy", "device", "timed")
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
    "--dtype", metavar="DTYPE", help="dtype of the floating-point inputs; refused if no template."
)
precision = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="strict: as accurate as PyTorch (the default, unless the task says otherwise).",
)
device = click.option("--device", "on_device", is_flag=True, help="Also run on a device here.")
require = click.option(
    "--require",
    "required",
    multiple=True,
    type=click.Choice(KINDS),
    help="A kind of evidence without which there is no pass. Repeatable.",
)
seed = click.option("--seed", default=0, show_default=True, help="Seed of the inputs.")
timeout = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds one compilation or run may take (300 and 120).",
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
