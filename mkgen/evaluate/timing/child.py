"""The child's side of timing: one timer, and what the parent asks of it.

The child is told neither how many calls there will be nor which outputs will be looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mkgen.codegen.timer import Timer

Job = dict[str, Any]


class TimerJobs:
    """Answers jobs `timing`; what is asked stands under `ask`."""

    def __init__(self, open_timer: Callable[[Job], Timer]) -> None:
        """`open_timer` makes what `open` is asked for, with its inputs on the device."""
        self._open_timer = open_timer
        self._timer: Timer | None = None

    def handle(self, job: Job) -> Any:
        """The result of one job."""
        from mkgen.evaluate.arrays import save_arrays

        ask = job["ask"]
        if ask in ("open", "close"):
            if self._timer is not None:
                self._timer.close()
            self._timer = self._open_timer(job) if ask == "open" else None
            return None
        timer = self._timer
        if timer is None:
            raise RuntimeError(f"{ask} before open")
        if ask == "warm":
            return timer.warm()
        if ask == "queued":
            return float(timer.queued(job["shift"]))
        if ask == "bracketed":
            return asdict(timer.bracketed(job["shift"]))
        if ask == "outputs":
            return save_arrays(Path(job["outputs"]), timer.outputs())
        if ask == "kernels":
            return list(timer.kernels())
        raise RuntimeError(f"no job {ask!r}")
