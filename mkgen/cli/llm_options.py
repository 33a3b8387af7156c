"""Options of the commands that ask a language model."""

from __future__ import annotations

import functools
import math
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from mkgen.cli import options
from mkgen.errors import UserError

if TYPE_CHECKING:
    from mkgen.llm.providers import ProviderSettings

_DIRECTORY = click.Path(file_okay=False, path_type=Path)


def _price(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[float, float] | None:
    if value is None:
        return None
    try:
        prompt, completion = (float(part) for part in value.split(","))
    except ValueError:
        prompt = completion = math.nan
    if not (0 <= prompt < math.inf and 0 <= completion < math.inf):
        raise click.BadParameter("write IN,OUT: dollars per million tokens, as in 2.5,10")
    return prompt, completion


#: In the order in which help lists them.
OPTIONS = (
    click.option("--model", metavar="NAME", help="The model to ask, by its name at --base-url."),
    click.option("--base-url", metavar="URL",
                 help="An OpenAI-compatible API: https://api.openai.com/v1, "
                 "http://localhost:11434/v1."),
    click.option("--api-key-env", metavar="NAME",
                 help="The environment variable that holds the key, by name.  [default: "
                 "MKGEN_API_KEY, then OPENAI_API_KEY]"),
    click.option("--llm-cmd", metavar="COMMAND",
                 help="Instead: a command that reads the prompt on stdin and prints the answer."),
    click.option("--answers", type=_DIRECTORY, metavar="DIR",
                 help="Instead: prompts are written to DIR; answers you paste are read from it."),
    click.option("--replay", metavar="DIR",
                 type=click.Path(exists=True, file_okay=False, path_type=Path),
                 help="Instead: the exchanges an earlier run kept in DIR; nothing is asked."),
    click.option("--temperature", type=click.FloatRange(0, 2),
                 help="Of sampling; the server's own without it."),
    click.option("--sampling-seed", type=click.IntRange(min=0), metavar="N",
                 help="Sample i is asked for with seed N + i; servers differ in what they make "
                 "of it."),
    click.option("--max-output-tokens", type=click.IntRange(1, 1 << 20), default=16384,
                 show_default=True, help="The most that one answer may have."),
    click.option("--max-tokens", type=click.IntRange(min=0),
                 help="Stop before all exchanges together, earlier runs' too, take more."),
    click.option("--max-usd", type=click.FloatRange(min=0),
                 help="Stop before they cost more; needs --price."),
    click.option("--price", metavar="IN,OUT", callback=_price,
                 help="Dollars per million tokens of prompts and of answers."),
    click.option("--no-stream", is_flag=True, help="Ask for each answer in one piece."),
    click.option("--llm-timeout", type=click.FloatRange(0, 86400, min_open=True), default=600.0,
                 show_default=True, help="Seconds that one attempt to get an answer may take."),
)  # fmt: skip
#: What a prompt is made of.
PROMPTING = (options.memory, options.strategy, options.form)
_NAMES = (
    "model", "base_url", "api_key_env", "llm_cmd", "answers", "replay", "temperature",
    "sampling_seed", "max_output_tokens", "max_tokens", "max_usd",
)  # fmt: skip
#: Of `generator`, but for the choice itself.
_OWN = ("samples", "rounds", "memory", "strategy", "form")


@dataclass(frozen=True)
class Asking:
    """How a model is asked for kernels."""

    strategy: str
    form: str
    samples: int
    rounds: int
    """Answers of one sample: the first, and those that had feedback."""
    memory: bool
    provider: ProviderSettings
    used: tuple[str, ...]
    """Options for models that the user has given."""

    def refuse_unused(self, needed: str) -> None:
        """UserError when options for models are there that nothing reads without `needed`."""
        if self.used:
            raise UserError(f"{self.used[0]} says how a model is asked; it needs {needed}")


def generator(samples: int = 1, rounds: int = 1) -> tuple[Callable[..., Any], ...]:
    """Options that choose who writes kernels, and how often a model is asked."""
    return (
        click.option("--generator", type=click.Choice(("template", "llm")), default="template",
                     show_default=True, help="Who writes the kernels: mkgen's templates, or a "
                     "language model."),
        click.option("--samples", type=click.IntRange(1, 1000), default=samples,
                     show_default=True, help="Independent answers of the model, k of Pass@k."),
        click.option("--rounds", type=click.IntRange(1, 50), default=rounds, show_default=True,
                     help="Answers of one sample: the first, then repairs by feedback."),
        *PROMPTING,
    )  # fmt: skip


def asking(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds OPTIONS to a command that has those of `generator`; it gets all as `asking`."""

    @functools.wraps(function)
    def command(*args: Any, **given: Any) -> Any:
        context = click.get_current_context()
        used = tuple(
            f"--{name.replace('_', '-')}"
            for name in (*_OWN, *_NAMES, "price", "no_stream", "llm_timeout")
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        )
        provider = _settings(given)
        own = {name: given.pop(name, 1) for name in _OWN}  # an evolution counts in its own way
        return function(*args, asking=Asking(**own, provider=provider, used=used), **given)

    return options.together(*OPTIONS)(command)


def provider_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds OPTIONS to a command, which gets them as one argument, `provider_settings`."""

    @functools.wraps(function)
    def command(*args: Any, **given: Any) -> Any:
        return function(*args, provider_settings=_settings(given), **given)

    return options.together(*OPTIONS)(command)


def _settings(given: dict[str, Any]) -> ProviderSettings:
    """Takes what belongs to OPTIONS out of `given`."""
    from mkgen.llm.budget import Price
    from mkgen.llm.providers import ProviderSettings

    price = given.pop("price")
    return ProviderSettings(
        **{name: given.pop(name) for name in _NAMES},
        price=price and Price(*price),
        stream=not given.pop("no_stream"),
        timeout=given.pop("llm_timeout"),
        again=shlex.join(["mkgen", *sys.argv[1:]]),
    )
