"""Runs a command until its parent is gone: `keeper.py FD COMMAND…`, run by path.

The parent holds the other end of the pipe FD. When it closes, by whatever end of the parent, kill
-9 included, this process ends its whole process group, which is the command's. Exits as the
command did. It imports nothing of mkgen: it must start fast.
"""

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    """Starts the command, and waits for its end or the parent's."""
    lifeline = int(sys.argv[1])
    os.set_inheritable(lifeline, False)
    threading.Thread(target=_watch, args=(lifeline,), daemon=True).start()
    code = subprocess.call(sys.argv[2:])
    return code if code >= 0 else 128 - code


def _watch(lifeline: int) -> None:
    os.read(lifeline, 1)  # nothing is ever written: this is the end of file
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
