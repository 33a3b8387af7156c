"""A limit on what exchanges may take, in tokens and in US dollars."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mkgen.errors import UserError
from mkgen.llm.provider import BudgetError, Reply
from mkgen.llm.tokens import estimated_tokens


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens."""

    prompt: float
    completion: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Of one exchange."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


class Budget:
    """What was spent and what may be; for several threads, and for several `Recorded`."""

    def __init__(
        self,
        max_tokens: int | None = None,
        max_usd: float | None = None,
        price: Price | None = None,
        output_tokens: int = 16384,
    ) -> None:
        """`output_tokens` is the most that one answer has. UserError for dollars without price."""
        if max_usd is not None and price is None:
            raise UserError("--max-usd needs --price IN,OUT: dollars per million tokens")
        self._max_tokens = max_tokens
        self._max_usd = max_usd
        self._price = price
        self._output_tokens = output_tokens
        self._tokens = 0
        self._usd = 0.0
        self._held: list[tuple[int, float]] = []
        self._changed = threading.Condition()

    @property
    def spent_tokens(self) -> int:
        """Of finished exchanges, earlier runs' included."""
        with self._changed:
            return self._tokens

    @property
    def spent_usd(self) -> float:
        """By prices at the time of each exchange; what had none counts at today's."""
        with self._changed:
            return self._usd

    def charge(self, prompt: str, reply: Reply) -> None:
        """Counts an exchange; what the provider does not report is estimated."""
        tokens = _tokens(prompt, reply)
        with self._changed:
            self._tokens += sum(tokens)
            cost = reply.usage.cost
            self._usd += self._cost(tokens) if cost is None else cost
            self._changed.notify_all()

    def priced(self, prompt: str, reply: Reply) -> Reply:
        """`reply` with its cost, where there is a price and the reply has none."""
        if self._price is None or reply.usage.cost is not None:
            return reply
        cost = self._cost(_tokens(prompt, reply))
        return reply.model_copy(update={"usage": reply.usage.model_copy(update={"cost": cost})})

    @contextmanager
    def reserved(self, prompt: str) -> Iterator[Callable[[Reply], None]]:
        """Holds the worst case of asking `prompt`; gives what counts the answer in its place.

        Waits where exchanges under way may turn out to leave enough. BudgetError where they
        cannot.
        """
        tokens = (estimated_tokens(prompt), self._output_tokens)
        worst = (sum(tokens), self._cost(tokens))
        with self._changed:
            while not self._fits(worst, self._held):
                if not self._fits(worst, []) or not self._held:
                    raise BudgetError(self._told(worst))
                self._changed.wait()
            self._held.append(worst)
        try:
            yield lambda reply: self.charge(prompt, reply)
        finally:
            with self._changed:
                self._held.remove(worst)
                self._changed.notify_all()

    def _fits(self, worst: tuple[int, float], held: list[tuple[int, float]]) -> bool:
        tokens = self._tokens + worst[0] + sum(t for t, _ in held)
        usd = self._usd + worst[1] + sum(d for _, d in held)
        return (self._max_tokens is None or tokens <= self._max_tokens) and (
            self._max_usd is None or usd <= self._max_usd
        )

    def _cost(self, tokens: tuple[int, int]) -> float:
        return self._price.of(*tokens) if self._price else 0.0

    def _told(self, worst: tuple[int, float]) -> str:
        parts = []
        if self._max_tokens is not None:
            parts.append(
                f"{self._tokens} of {self._max_tokens} tokens are spent, and the next exchange "
                f"may take {worst[0]}"
            )
        if self._max_usd is not None:
            parts.append(
                f"${self._usd:.4f} of ${self._max_usd:.4f} are spent, and the next exchange may "
                f"cost ${worst[1]:.4f}"
            )
        return (
            f"the budget is used up: {'; '.join(parts)}. Nothing was sent, and all answers are "
            "kept: raise --max-tokens or --max-usd and run the same command again, or lower "
            "--max-output-tokens"
        )


def _tokens(prompt: str, reply: Reply) -> tuple[int, int]:
    usage = reply.usage
    return (
        estimated_tokens(prompt) if usage.prompt_tokens is None else usage.prompt_tokens,
        estimated_tokens(reply.text)
        if usage.completion_tokens is None
        else usage.completion_tokens,
    )
