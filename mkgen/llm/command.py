"""Any command as a provider: the prompt on its stdin, the answer on its stdout."""

from __future__ import annotations

import contextlib
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from mkgen.document import canonical_json
from mkgen.errors import UserError
from mkgen.evaluate.process import storable
from mkgen.llm import keeper
from mkgen.llm.keys import redacted
from mkgen.llm.provider import Provider, ProviderError, Reply

_KEPT_STDERR = 16 << 10
_POLL_SECONDS = 0.1


class Command(Provider):
    """A command of the user's, started anew for every exchange and without a shell.

    It gets the user's own environment, keys included, since it is the user's own command: what
    workers are kept from is not kept from it. It cannot outlive mkgen.
    """

    def __init__(self, command: str, timeout: float = 600.0, most_bytes: int = 4 << 20) -> None:
        """`command` is split as a shell would. UserError where that fails, or it is not found."""
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise UserError(f"--llm-cmd cannot be split into words: {error}") from error
        if not self._words:
            raise UserError("--llm-cmd is empty; give a command such as 'ollama run qwen3-coder'")
        if shutil.which(self._words[0]) is None:
            raise UserError(f"--llm-cmd: there is no command {self._words[0]!r} on PATH")
        self._timeout = timeout
        self._most = most_bytes

    @property
    def name(self) -> str:
        """See Provider."""
        return redacted(shlex.join(self._words))

    @property
    def identity(self) -> str:
        """See Provider."""
        return canonical_json({"kind": "command", "words": [redacted(w) for w in self._words]})

    def ask(self, prompt: str, sample: int) -> Reply:
        """See Provider. `sample` is not told to the command: it must vary by itself."""
        started = time.monotonic()
        with tempfile.TemporaryFile() as given:
            given.write(prompt.encode())
            given.seek(0)
            with self._running(given) as process:
                output, errors = self._read(process, started + self._timeout)
        if process.returncode:
            raise ProviderError(
                f"{self.name}: exit status {process.returncode}; {_last_words(errors)}. Run it by "
                "itself, with a prompt on its stdin, to see why"
            )
        text = redacted(storable(output.decode(errors="replace")))
        return Reply(text=text, model=self.name, finish="stop", seconds=time.monotonic() - started)

    @contextmanager
    def _running(self, given: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
        """The command in a process group of its own, of which nothing is left afterwards."""
        end, lifeline = os.pipe()
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", keeper.__file__, str(end), *self._words],
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(end,),
                start_new_session=True,
            )
        except BaseException:
            os.close(lifeline)
            raise
        finally:
            os.close(end)
        try:
            with process:
                try:
                    yield process
                finally:
                    # before it is waited for: until then no other group can have this number
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
        finally:
            os.close(lifeline)

    def _read(self, process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bytes]:
        """All of stdout, the end of stderr. ProviderError past the limits of time and size."""
        output, errors = bytearray(), b""
        with selectors.DefaultSelector() as selector:
            for stream in (process.stdout, process.stderr):
                assert stream is not None
                selector.register(stream, selectors.EVENT_READ)
            while True:
                ended = _has_ended(process)
                ready = selector.select(0 if ended else _POLL_SECONDS)
                if ended and not ready:  # what it started and left behind may hold the other ends
                    return bytes(output), errors
                for key, _ in ready:
                    data = os.read(key.fd, 1 << 16)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is process.stdout:
                        output += data
                    else:
                        errors = (errors + data)[-_KEPT_STDERR:]
                if len(output) > self._most:
                    raise ProviderError(
                        f"{self.name}: more than {self._most} bytes on stdout; it must print one "
                        "answer and end"
                    )
                if time.monotonic() > deadline:
                    raise ProviderError(
                        f"{self.name}: no whole answer within {self._timeout:g} s; "
                        f"{_last_words(errors)}. Raise --llm-timeout, or run it by itself"
                    )


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has; unlike poll(), this leaves its number to it."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _last_words(errors: bytes) -> str:
    lines = [line.strip() for line in errors.decode(errors="replace").splitlines()]
    said = redacted(storable(" | ".join(line for line in lines[-5:] if line)))[-1000:]
    return f"its stderr ends: {said}" if said else "its stderr is empty"
