"""What a hostile text tries from inside a worker: each attempt says whether it got through."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_PTRACE_SEIZE = 0x4206
_USER_AND_MOUNTS = 0x10020000

Targets = dict[str, Any]


def attempt_all(targets: Targets) -> dict[str, str]:
    """Every attempt of `ATTEMPTS`: what it got, or the error that stopped it, after `no: `."""
    told = {}
    for name, attempt in ATTEMPTS.items():
        try:
            told[name] = str(attempt(targets) or "yes")
        except Exception as error:
            told[name] = f"no: {type(error).__name__}: {error}"
    return told


def _read_environment(targets: Targets) -> str:
    found = [v for v in os.environ.values() if targets["secret"] in v]
    if not found:
        raise LookupError("no key here")
    return found[0]


def _read_parents_environment(targets: Targets) -> str:
    text = Path(f"/proc/{targets['victim']}/environ").read_bytes()
    if targets["secret"].encode() not in text:
        raise LookupError("not there")
    return "read"


def _read_parents_memory(targets: Targets) -> str:
    victim = targets["victim"]
    place = Path(f"/proc/{victim}/maps").read_text().partition("-")[0]
    with open(f"/proc/{victim}/mem", "rb") as memory:
        memory.seek(int(place, 16))
        return repr(memory.read(4))


def _find_expected(targets: Targets) -> str:
    wanted = np.asarray(targets["expected"], np.float32)
    for thing in gc.get_objects():
        if (
            isinstance(thing, np.ndarray)
            and thing.shape == wanted.shape
            and (thing == wanted).all()
        ):
            return "in memory"
    for place in (Path(".").resolve().parents[1], Path("/tmp")):
        for file in place.rglob("*.bin"):
            data = np.fromfile(file, np.float32)
            if data.shape == wanted.shape and (data == wanted).all():
                return f"in {file}"
    raise LookupError("nowhere")


def _list_home(targets: Targets) -> str:
    if Path(targets["canary"]).name not in os.listdir(Path(targets["canary"]).parent):
        raise LookupError("the canary is not there")
    return Path(targets["canary"]).read_text()


def _write(path: str) -> str:
    with open(path, "a") as file:
        file.write("planted\n")
    return path


def _write_record(targets: Targets) -> str:
    path = Path(targets["record"])
    if "a record" not in path.read_text():
        raise LookupError("another file")
    return _write(str(path))


def _connect_tcp(targets: Targets) -> str:
    with socket.create_connection(("127.0.0.1", targets["port"]), 2) as connection:
        connection.sendall(b"hello")
    return "connected"


def _send_udp(targets: Targets) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"hello", ("127.0.0.1", targets["udp"]))
    return "sent"


def _connect_unix(address: str) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(address)
    return "connected"


def _trace(targets: Targets) -> str:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(_PTRACE_SEIZE, targets["victim"], None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")
    return "traced"


def _signal(targets: Targets) -> str:
    os.kill(targets["victim"], signal.SIGUSR1)
    return "sent"


def _plant(targets: Targets) -> str:
    for name in ("sitecustomize.py", "torch.py", "wave.py", "planted.pth"):
        Path(name).write_text("PLANTED = True\n")
    return "planted"


def _daemon(targets: Targets) -> str:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", targets["daemon"]])
        os._exit(0)
    return "started"


def _namespace(targets: Targets) -> str:
    libc = ctypes.CDLL(None, use_errno=True)
    child = os.fork()  # whoever has threads may not
    if child == 0:
        os._exit(0 if libc.unshare(_USER_AND_MOUNTS) == 0 else 1)
    if os.waitpid(child, 0)[1] != 0:
        raise PermissionError("unshare")
    return "unshared"


def _core(targets: Targets) -> str:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))
    return "raised"


def _device(targets: Targets) -> str:
    quiet = {"null", "zero", "full", "random", "urandom", "shm", "fd", "stdin", "stdout", "stderr"}
    found = set(os.listdir("/dev")) - quiet
    if not found:
        raise LookupError("no other device file")
    return " ".join(sorted(found))


ATTEMPTS: dict[str, Callable[[Targets], str]] = {
    "key": _read_environment,
    "parents-environment": _read_parents_environment,
    "parents-memory": _read_parents_memory,
    "expected": _find_expected,
    "home": _list_home,
    "elsewhere": lambda t: _write(t["elsewhere"]),
    "compile-cache": lambda t: _write(t["cache"]),
    "site-packages": lambda t: _write(t["site"]),
    "record": _write_record,
    "tcp": _connect_tcp,
    "udp": _send_udp,
    "abstract-socket": lambda t: _connect_unix("\0" + t["abstract"]),
    "file-socket": lambda t: _connect_unix(t["socket"]),
    "ptrace": _trace,
    "signal": _signal,
    "namespace": _namespace,
    "core": _core,
    "device": _device,
    "plant": _plant,
    "daemon": _daemon,
}


def see_planted() -> dict[str, str]:
    """What a worker sees of what an earlier one may have left."""
    done = subprocess.run(
        [sys.executable, "-c", "import wave; print(hasattr(wave, 'PLANTED'))"],
        capture_output=True,
        text=True,
        check=False,
    )
    names = " ".join(sorted(os.listdir(".")))
    return {"files": names, "python": done.stdout.strip()}


def forge(secret_known: str) -> None:
    """Writes a reply to every descriptor, as if the job had ended well, and leaves."""
    line = f'{{"result": null, "nonce": "{secret_known}"}}\n'.encode()
    for handle in range(3, 64):
        try:
            os.write(handle, line)
        except OSError:
            continue
    os._exit(0)


def nonce_of_this_job() -> str:
    """The nonce, out of the frames of the process that it was given to."""
    frame = sys._getframe()
    while frame is not None:
        for value in frame.f_locals.values():
            if isinstance(value, dict) and isinstance(value.get("nonce"), str):
                return str(value["nonce"])
        frame = frame.f_back  # type: ignore[assignment]
    raise LookupError("no nonce")
