"""A process that ends every worker when its parent is gone, even by kill -9.

A worker asks the kernel to die with its parent, but what a worker started itself (a compiler,
a driver's helper) does not. This process knows the process groups: lines `+PGID` and `-PGID` on
stdin. At end of file the parent has ended: it kills what is left and removes the scratch directory.
It is run by path and imports nothing of mkgen: it must start fast and never fail.
"""

import contextlib
import os
import shutil
import signal
import sys


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
            os.killpg(group, signal.SIGKILL)
    shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()
