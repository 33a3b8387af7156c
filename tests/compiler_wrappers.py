"""Compilers that are wrong on purpose: shell scripts around a real one, for --toolchain."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mkgen_simt.host_probe import zig_binary

ROOT = Path(__file__).parent.parent
#: Where `make paste-tools` puts public compilers.
TOOLS = Path(os.environ.get("MKGEN_PASTE_TOOLS") or ROOT / ".paste-tools")


def script(path: Path, text: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def clang(directory: Path) -> Path:
    """A clang for AMD GPUs with its linker beside it, made of the one in the ziglang wheel."""
    zig = zig_binary()
    assert zig is not None, "pip install ziglang"
    script(directory / "ld.lld", f'exec {zig} ld.lld "$@"')
    return script(directory / "clang++", f'exec {zig} clang "$@"')


def nvcc() -> Path | None:
    """MKGEN_NVCC, else what `make paste-tools` installed, else the one on PATH."""
    return _find("MKGEN_NVCC", TOOLS / "bin/nvcc", "nvcc")


def hipcc() -> Path | None:
    """MKGEN_HIPCC, else what `make paste-tools` installed, else the one on PATH."""
    return _find("MKGEN_HIPCC", TOOLS / "bin/hipcc", "hipcc")


def _find(variable: str, installed: Path, name: str) -> Path | None:
    named = os.environ.get(variable)
    if named:
        return Path(named)
    if installed.is_file():
        return installed
    found = shutil.which(name)
    return Path(found) if found else None


#: What the script does instead of, before or after `$REAL "$@"`, when it is asked to compile:
#: `$OUT` is what comes after -o.
FAULTS = {
    "segfault": "kill -SEGV $$",
    "abort": "echo 'Assertion failed: !Ty.isNull()' >&2; kill -ABRT $$",
    "exit": "echo 'fatal error: out of luck' >&2; exit 1",
    "silent": "exit 1",
    "nothing": "exit 0",
    "hang": 'sleep 1000; exec $REAL "$@"',
    "garbage": 'head -c 4000 /dev/urandom > "$OUT"; exit 0',
    "empty": ': > "$OUT"; exit 0',
    "deletes": '$REAL "$@"; code=$?; rm -f "$OUT"; exit $code',
    "truncates": '$REAL "$@" && head -c 700 "$OUT" > "$OUT.part" && mv "$OUT.part" "$OUT"',
    "host": 'cp /bin/true "$OUT"; exit 0',
    "warns": 'echo "warning: 1 error avoided: 64 registers spilled" >&2; exec $REAL "$@"',
}


def wrapper(path: Path, real: Path, fault: str, only: str = "*") -> Path:
    """A compiler that answers questions as `real` does, and compiles as FAULTS[fault] says.

    `only` is a shell pattern of the outputs it goes wrong on.
    """
    return script(
        path,
        f"""REAL={real}
OUT=; last=
for word in "$@"; do
  if [ "$last" = -o ]; then OUT=$word; fi
  last=$word
done
case "$OUT" in
  "" | *.i) exec $REAL "$@" ;;
  {only}) {FAULTS.get(fault, fault)} ;;
  *) exec $REAL "$@" ;;
esac""",
    )
