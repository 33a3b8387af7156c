"""From choices on the command line to a provider."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mkgen.errors import UserError
from mkgen.llm.budget import Budget, Price
from mkgen.llm.command import Command
from mkgen.llm.endpoint import EndpointSettings
from mkgen.llm.exchanges import Recorded, Replay
from mkgen.llm.folder import Folder
from mkgen.llm.http import Endpoint
from mkgen.llm.keys import KEY_NAMES, checked_key_name
from mkgen.llm.provider import Provider
from mkgen.llm.retry import Retry


@dataclass(frozen=True)
class ProviderSettings:
    """What was chosen; exactly one of model with base_url, llm_cmd, answers, replay."""

    model: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    """The name of a variable, not a key."""
    llm_cmd: str | None = None
    answers: Path | None = None
    replay: Path | None = None
    temperature: float | None = None
    max_output_tokens: int = 16384
    sampling_seed: int | None = None
    stream: bool = True
    timeout: float = 600.0
    max_tokens: int | None = None
    max_usd: float | None = None
    price: Price | None = None
    again: str = "the same command"
    """What to run when answers by hand are there."""
    retry: Retry | None = None
    """None: five attempts, in half an hour or three times the timeout."""

    @property
    def chosen(self) -> bool:
        """Whether any provider is."""
        return any((self.model, self.base_url, self.llm_cmd, self.answers, self.replay))


def provider_of(
    settings: ProviderSettings, tell: Callable[[str], None] = warnings.warn
) -> Provider:
    """The provider that `settings` choose, not recorded; `tell` hears of what people should know.

    UserError names what is missing, or what says two things; MissingError without httpx.
    """
    kind = _kind(settings)
    _check_meant(settings, kind)
    if settings.llm_cmd:
        return Command(settings.llm_cmd, settings.timeout)
    if settings.answers:
        return Folder(settings.answers, settings.again)
    if settings.replay:
        return Replay(settings.replay, tell)
    if not settings.base_url:
        raise UserError(
            "--model needs --base-url: https://api.openai.com/v1, http://localhost:11434/v1, …"
        )
    if not settings.model:
        raise UserError(f"--base-url needs --model: which model of {settings.base_url} to ask")
    name = settings.api_key_env
    endpoint = EndpointSettings(
        model=settings.model,
        base_url=settings.base_url,
        key_names=KEY_NAMES if name is None else (checked_key_name(name),),
        temperature=settings.temperature,
        max_output_tokens=settings.max_output_tokens,
        seed=settings.sampling_seed,
        stream=settings.stream,
        timeout=settings.timeout,
        retry=settings.retry or Retry(total=max(Retry.total, 3 * settings.timeout)),
    )
    return Endpoint(endpoint, tell)


def recorded_provider(
    settings: ProviderSettings,
    directory: Path,
    tell: Callable[[str], None] = warnings.warn,
    budget: Budget | None = None,
) -> Provider:
    """The provider that `settings` choose, its exchanges kept in `directory`, within a budget.

    Answers by hand are files of the user's already, and may be edited; a replay has been paid for:
    neither is recorded again. Raises as `provider_of`.
    """
    provider = provider_of(settings, tell)
    if isinstance(provider, Folder | Replay):
        return provider
    return Recorded(provider, directory, budget or budget_of(settings), warn=tell)


def budget_of(settings: ProviderSettings) -> Budget:
    """The budget that `settings` choose. UserError for dollars without a price."""
    return Budget(settings.max_tokens, settings.max_usd, settings.price, settings.max_output_tokens)


def _kind(settings: ProviderSettings) -> str:
    given = {
        "--model": bool(settings.model or settings.base_url),
        "--llm-cmd": bool(settings.llm_cmd),
        "--answers": settings.answers is not None,
        "--replay": settings.replay is not None,
    }
    chosen = [option for option, is_given in given.items() if is_given]
    if not chosen:
        raise UserError(
            "no model to ask: give --model NAME --base-url URL, --llm-cmd COMMAND, --answers DIR "
            "or --replay DIR"
        )
    if len(chosen) > 1:
        raise UserError(f"{' and '.join(chosen)}: give one of them, as each says whom to ask")
    return chosen[0]


def _check_meant(settings: ProviderSettings, kind: str) -> None:
    """UserError for a choice that would have no effect."""
    of_endpoints = {
        "--api-key-env": settings.api_key_env is not None,
        "--temperature": settings.temperature is not None,
        "--sampling-seed": settings.sampling_seed is not None,
        "--no-stream": not settings.stream,
    }
    of_paid = {
        "--max-tokens": settings.max_tokens is not None,
        "--max-usd": settings.max_usd is not None,
        "--price": settings.price is not None,
    }
    idle = {"--model": {}, "--llm-cmd": of_endpoints, "--answers": of_endpoints | of_paid}
    for option, given in idle.get(kind, {}).items():
        if given:
            raise UserError(f"{option} has no effect with {kind}; leave it out")
