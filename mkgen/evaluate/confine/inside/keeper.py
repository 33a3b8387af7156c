"""Starts a worker inside its confinement and keeps it until it ends, or has to.

Where there are namespaces of ours, three processes: this one (the keeper, which the parent
knows), the first process of the new PID namespace, and the worker. Elsewhere the keeper is a
subreaper: whatever the worker leaves behind becomes the keeper's child. SIGTERM, the worker's end
or the parent's death end all of it; the keeper ends last, and as the worker did.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # the public one takes 10 ms more
import marshal
import os
import resource
import sys

from mkgen.evaluate.confine.inside import calls, landlock, namespaces, seccomp

TYPE_CHECKING = False  # typing takes longer to import than all the rest
if TYPE_CHECKING:
    from typing import Any, NoReturn

    Spec = dict[str, Any]

#: Exit status of a confinement that could not be made; its reason is on stderr.
CANNOT = 97


def main() -> None:
    """Does what the marshalled, hexadecimal dict in the first argument says.

    layer, filter, parent (PID), mounts, base, directory, command, limits (by name of RLIMIT),
    tasks; for `landlock` also read, list, write and devices.
    """
    spec: Spec = marshal.loads(bytes.fromhex(sys.argv[1]))
    try:
        keep = _keep_namespace if spec["layer"] == "namespaces" else _keep_descendants
        status = keep(spec)
    except OSError as error:
        print(f"confinement: {error.strerror}", file=sys.stderr)
        os._exit(CANNOT)
    _end_as(status)


def _keep_namespace(spec: Spec) -> int:
    namespaces.enter()
    _watch_parent(spec)
    reading, writing = os.pipe()
    first = os.fork()
    if first == 0:
        os.close(reading)
        _first_process(spec, writing)
    os.close(writing)
    _let_go()

    def end(*_: object) -> None:
        os.kill(first, signal.SIGKILL)

    signal.signal(signal.SIGTERM, end)
    os.read(reading, 1)
    told = os.read(reading, 4)
    _, status = os.waitpid(first, 0)  # returns once nothing of the namespace is left
    return int.from_bytes(told, "little") if len(told) == 4 else status


def _first_process(spec: Spec, writing: int) -> NoReturn:
    try:
        calls.die_with_parent(signal.SIGKILL)
        os.write(writing, b"r")  # fails where the keeper ended before it could be watched
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        namespaces.build_root(spec["base"], spec["mounts"], spec["tasks"])
        worker = os.fork()
        if worker == 0:
            os.setsid()  # the keeper is of this group, and a signal to a group finds it
            _become_worker(spec)
        calls.drop_capabilities()
        calls.not_inspectable()
        _let_go()
        while True:
            ended, status = os.wait()
            if ended == worker:
                os.write(writing, status.to_bytes(4, "little"))
                os._exit(0)
    except OSError as error:
        _cannot(error)


def _keep_descendants(spec: Spec) -> int:
    calls.adopt_orphans()
    _watch_parent(spec)
    worker = os.fork()
    if worker == 0:
        os.setsid()
        _become_bubblewrap(spec) if spec["layer"] == "bubblewrap" else _become_worker(spec)
    _let_go()

    def end(*_: object) -> NoReturn:
        _end_descendants()
        os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    status = 0
    while True:
        ended, told = os.wait()
        if ended == worker:
            status = told
            break
    _end_descendants()
    code = os.waitstatus_to_exitcode(status)
    if spec["layer"] == "bubblewrap" and code > 128:
        return code - 128  # it tells of the worker's signal as shells do
    return status


def _become_worker(spec: Spec) -> NoReturn:
    try:
        os.chdir(spec["directory"])
        alone = spec["layer"] == "namespaces"
        _limit(spec)
        calls.no_new_privileges()
        if spec["layer"] == "landlock":
            landlock.restrict({k: spec[k] for k in ("read", "list", "write", "devices")})
        calls.drop_capabilities()
        if spec["filter"]:
            seccomp.install(alone=alone)
    except OSError as error:
        _cannot(error)
    _execute(spec)


def _become_bubblewrap(spec: Spec) -> NoReturn:
    _limit(spec)
    if spec["filter"]:
        code = seccomp.program(os.uname().machine, alone=True)
        handle = os.memfd_create("filter", 0)
        os.write(handle, code)
        os.lseek(handle, 0, os.SEEK_SET)
        program, *rest = spec["command"]
        spec["command"] = [program, "--seccomp", str(handle), *rest]
    _execute(spec)


def _limit(spec: Spec) -> None:
    for name, value in spec["limits"].items():
        which = getattr(resource, name)
        _, hard = resource.getrlimit(which)
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (least, least))
    # the first that the kernel should kill when memory is short
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def _execute(spec: Spec) -> NoReturn:
    command = spec["command"]
    for number in (signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execv(command[0], command)
    except OSError as error:
        _cannot(OSError(error.errno, f"{command[0]}: {error.strerror}"))


def _cannot(error: OSError) -> NoReturn:
    os.write(2, f"confinement: {error.strerror}\n".encode())
    os._exit(CANNOT)


def _watch_parent(spec: Spec) -> None:
    # after the change of user namespace, which clears it
    calls.die_with_parent(signal.SIGTERM)
    if os.getppid() != spec["parent"]:
        os._exit(CANNOT)


def _let_go() -> None:
    """Leaves the channel to the worker, so that its end is seen."""
    null = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(null, handle)
    os.close(null)


def _end_descendants() -> None:
    while found := _descendants():
        for pid in found:
            _kill(pid)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it has ended meanwhile


def _descendants() -> list[int]:
    """Everything below this process that lives or waits to be reaped."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError):
                continue  # it has just ended
            parents.setdefault(parent, []).append(int(name))
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def _end_as(status: int) -> NoReturn:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        os._exit(code)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if code != -signal.SIGKILL:  # nobody may say what that one does
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
    os._exit(128 - code)
