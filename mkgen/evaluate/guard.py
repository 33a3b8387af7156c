"""A process that ends every worker when its parent is gone, even by kill -9.

The keeper of a worker asks the kernel for a signal when its parent ends, and ends what is below
it; this process sees to it that it does. It knows the keepers, each the leader of a process group:
lines `+PID` and `-PID` on stdin. At end of file the parent has ended: it ends what is left and
removes the scratch directory.
It is run by path and imports nothing of mkgen: it must start fast and never fail.
"""

import contextlib
import os
import shutil
import signal
import sys
import time

_SECONDS = 5.0


def main() -> None:
    """Reads lines until end of file, then kills and cleans."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(group, signal.SIGTERM)  # a keeper then ends what is below it first
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and any(map(_lives, groups)):
        time.sleep(0.01)
    for group in filter(_lives, groups):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    shutil.rmtree(sys.argv[1], ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


if __name__ == "__main__":
    main()
