"""What answers prompts, behind one small contract; and what it may cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from mkgen.document import Document
from mkgen.errors import EXIT_MISSING, MkgenError


class ProviderError(MkgenError):
    """No answer could be had: what was asked, what came, and the remedy. Never a key."""

    exit_code = EXIT_MISSING


class BudgetError(MkgenError):
    """The next exchange would pass the limit in tokens or money; nothing was sent."""

    exit_code = EXIT_MISSING


class Usage(Document):
    """What one exchange took; None where the provider does not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    """US dollars, by the prices that the user gave; None without prices."""


class Reply(Document):
    """One answer, whole or cut off."""

    text: str
    model: str
    """As the provider calls itself in its answer."""
    finish: Literal["stop", "length", "refusal", "unknown"]
    """length: cut off at the provider's limit; refusal: it said that it will not."""
    usage: Usage = Usage()
    seconds: float


class Provider(ABC):
    """Something that answers a prompt: an endpoint, a command, a folder, a person."""

    @property
    @abstractmethod
    def name(self) -> str:
        """For people and records: the model at its host, the command; never with a key."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """Everything that decides the answer but prompt and sample: model, URL, settings."""

    @abstractmethod
    def ask(self, prompt: str, sample: int) -> Reply:
        """The answer to `prompt`; `sample` 0, 1, … are different answers to the same prompt.

        ProviderError when there is none, BudgetError before it would cost too much. May be called
        by several threads at once.
        """
