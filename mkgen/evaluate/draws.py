"""Where a candidate's inputs come from: the judge's own seed, or one that nobody can know.

A template's inputs are drawn from `--seed`, so that its record repeats and its oracles serve every
backend. A stranger's text could hold the answers to those: its seed is drawn here, in the parent,
when a child has loaded the text already, and it never leaves the parent before the record does.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

from mkgen.errors import UserError
from mkgen.evaluate.oracle import Case, Judge
from mkgen.program import PrecisionClass
from mkgen.task import Task, Workload

#: What every reader of JSON can hold.
_SEED_BITS = 53
#: Draws of which one must be well conditioned, where the judge's own is.
_TRIES = 4


def secret_seed() -> int:
    """A seed from the system's entropy."""
    return secrets.randbits(_SEED_BITS)


class Draws:
    """The cases of one candidate."""

    def __init__(
        self,
        judge: Judge,
        task: Task,
        precision: PrecisionClass,
        *,
        secret: bool = False,
        draw: Callable[[], int] | None = None,
    ) -> None:
        """`draw` makes a secret seed; None: from the system's entropy."""
        self._judge, self._task, self._precision = judge, task, precision
        self._secret, self._draw = secret, draw
        self.seed: int | None = None if secret else judge.seed
        """None until the first case is asked for, where it is secret."""

    def case(self, workload: Workload) -> Case:
        """Inputs and expected outputs. UserError when the reference itself fails."""
        return self._judge.case(self._task, workload, self._precision, seed=self._chosen())

    def structured(self) -> list[Case]:
        """The cases with structured inputs on the smallest check sizes; some are `unfit`."""
        return self._judge.structured(self._task, self._precision, self._chosen())

    def thin(self, extent: int) -> Iterator[Workload]:
        """Sizes with one axis of `extent` that the reference has a result for."""
        return self._judge.thin(self._task, self._precision, extent)

    def forget(self) -> None:
        """Drops what was computed for a secret seed."""
        if self._secret and self.seed is not None:
            self._judge.forget(self.seed)

    def _chosen(self) -> int:
        if self.seed is not None:
            return self.seed
        for _ in range(_TRIES):
            self.seed = seed = (self._draw or secret_seed)()
            if self._well_conditioned(seed):
                break
            self._judge.forget(seed)
        return seed

    def _well_conditioned(self, seed: int) -> bool:
        """Whether the small sizes can judge with `seed`: a draw's accident is no one's fault."""
        small = [w for w in self._task.workloads() if w.role != "bench"]
        try:
            cases = [self._judge.case(self._task, w, self._precision, seed=seed) for w in small]
        except UserError:
            return True  # said where the case is used
        return not any(case.ill_conditioned for case in cases)
