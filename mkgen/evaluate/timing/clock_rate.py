"""The device's clock rate while something is timed, by the driver's own tool."""

from __future__ import annotations

import re
import subprocess
import tempfile
from types import TracebackType


class ClockRate:
    """Runs `command` for as long as the `with` block does and reads the numbers it printed."""

    def __init__(self, command: tuple[str, ...]) -> None:
        """An empty command, or one that is not there, tells nothing."""
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ClockRate:
        self._printed = tempfile.TemporaryFile()
        if self._command:
            try:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=self._printed,
                    stderr=subprocess.DEVNULL,
                )
            except OSError:
                self._process = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._printed.seek(0)
        text = self._printed.read().decode(errors="replace")
        self._printed.close()
        self._seen = [int(n) for n in re.findall(r"^\s*(\d+)\s*$", text, re.MULTILINE)]

    def megahertz(self) -> tuple[int, int] | None:
        """Lowest and highest, after the block; None where nothing was told."""
        return (min(self._seen), max(self._seen)) if self._seen else None
