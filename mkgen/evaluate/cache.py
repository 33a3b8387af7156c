"""Compiled artifacts on disk, by the hash of everything that decides what a compiler gives."""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from mkgen.codegen.backend import Backend
from mkgen.document import canonical_json, content_hash
from mkgen.evaluate.process import worker_environment
from mkgen.files import atomic_write, sync_directory
from mkgen.program import Artifact, Program
from mkgen.reading import json_value
from mkgen.record import Status

#: What a compiler says of the program. A crash or a deadline may be the machine's doing.
_VERDICTS = (Status.COMPILE_FAILED, Status.WRONG_ARCH)
_MACHINE = re.compile(
    r"no space left|out of memory|cannot allocate|bad_alloc|resource temporarily|permission denied"
    r"|too many open files|killed|terminated|read-only file system|input/output error",
    re.IGNORECASE,
)
_DECIDES_NOTHING = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LC_.*|TZ|LD_LIBRARY_PATH|VIRTUAL_ENV|PYTHONPATH|SSL_CERT_FILE"
    r"|TMPDIR|XDG_.*|MKGEN_.*|OMP_.*|MKL_.*|OPENBLAS_.*|.*VISIBLE.*|.*_CACHE(_.*)?"
)
_LOG_CHARACTERS = 20_000
#: In a worker: the user's cache, where its own (MKGEN_CACHE) is another that it may write.
READ_CACHE = "MKGEN_CACHE_READ"


@dataclass(frozen=True)
class Refusal:
    """How a compilation failed, and will fail again: the key holds all that decides it."""

    status: Status
    message: str
    log: str = ""

    def lasts(self) -> bool:
        """Whether it is the compiler's verdict, not the state of a machine."""
        return self.status in _VERDICTS and not _MACHINE.search(self.message + self.log)


def default_cache_directory() -> Path:
    """`MKGEN_CACHE`, else the user's XDG cache directory."""
    chosen = os.environ.get("MKGEN_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mkgen"


def file_sha(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compile_key(program: Program, backend: Backend, identity: str) -> str:
    """Names what compiling `program` gives; the head comment and the task's name do not count."""
    data = program.model_dump(mode="json")
    for neutral in ("task", "task_hash", "workload", "requirements"):
        del data[neutral]
    for source in data["sources"]:
        source["head"] = ""
    return content_hash(
        "compile 2",
        canonical_json(data),
        backend.name,
        identity,
        canonical_json(backend.flags.get(program.precision, ())),
        canonical_json(variables(backend)),
        *plugin_hashes(type(backend)),
    )


def variables(backend: Backend) -> dict[str, str]:
    """The user's variables that reach `backend`'s workers and may change what comes out.

    Options for a compiler travel in them (XLA_FLAGS, TRITON_PTXAS_PATH); the backend's own come
    with its code. Where caches, homes and the visible devices are decides nothing.
    """
    own = backend.environment("compile")
    reaching = worker_environment({}, Path(), Path(), backend.variables)
    return {
        name: value
        for name, value in sorted(reaching.items())
        if name not in own and not _DECIDES_NOTHING.fullmatch(name)
    }


def plugin_hashes(backend: type[Backend]) -> list[str]:
    """Hashes of the packages that a plug-in is made of."""
    return [_package_hash(package) for package in backend_files(backend)]


def backend_files(backend: type[Backend]) -> list[Path]:
    """The packages and modules that a plug-in is made of."""
    # What the plug-in adds (options, headers) changes with its code; so do the classes it extends.
    found = []
    for parent in backend.__mro__:
        if parent.__module__.partition(".")[0] in ("builtins", "abc", "mkgen"):
            continue
        file = Path(inspect.getfile(parent))
        found.append(file.parent if "." in parent.__module__ or file.stem == "__init__" else file)
    return sorted(set(found))


@cache
def _package_hash(path: Path) -> str:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return content_hash(*(f"{f.name} {file_sha(f)}" for f in files if "__pycache__" not in f.parts))


class CompileCache:
    """A directory of artifacts and refusals; safe for several processes, checked on every read."""

    def __init__(self, directory: Path | None = None) -> None:
        self._root = (directory or default_cache_directory()) / "compile"

    def get(self, key: str) -> Artifact | None:
        """The artifact stored under `key`; an entry that is not whole is removed."""
        entry = self._entry(key)
        try:
            stored = json_value((entry / "entry.json").read_text())
            artifact = Artifact.model_validate(stored["artifact"])
            isa_sha = stored["isa_sha"]
            path = entry / artifact.path
            isa = entry / artifact.isa_path if artifact.isa_path else None
            inside = all(p is None or (p.parent == entry and p.is_file()) for p in (path, isa))
            whole = inside and file_sha(path) == artifact.sha
            whole = whole and (isa is None or file_sha(isa) == isa_sha)
        except FileNotFoundError:
            whole = not entry.exists()
            if whole:
                return None
        except (OSError, ValueError, KeyError, TypeError, ValidationError):
            whole = False
        if not whole:
            shutil.rmtree(entry, ignore_errors=True)
            return None
        places = {"path": str(path), "isa_path": str(isa) if isa else None}
        return artifact.model_copy(update=places)

    def put(self, key: str, artifact: Artifact) -> Artifact:
        """Stores `artifact` with its files; gives it with the paths of the stored ones."""
        entry = self._entry(key)
        entry.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=".making-", dir=entry.parent))
        try:
            source = Path(artifact.path)
            shutil.copyfile(source, making / source.name)
            isa = Path(artifact.isa_path) if artifact.isa_path else None
            if isa is not None and isa != source:
                shutil.copyfile(isa, making / isa.name)
            stored = artifact.model_copy(
                update={"path": source.name, "isa_path": isa.name if isa else None}
            )
            content = {
                "artifact": stored.model_dump(mode="json"),
                "isa_sha": file_sha(isa) if isa else "",
            }
            atomic_write(making / "entry.json", canonical_json(content))
            try:
                os.rename(making, entry)
                sync_directory(entry.parent)
            except OSError:  # another process was first; the same key means the same artifact
                if not entry.is_dir():
                    raise
        finally:
            shutil.rmtree(making, ignore_errors=True)
        return self.get(key) or artifact

    def refusal(self, key: str) -> Refusal | None:
        """The refusal stored under `key`; one that is not whole is removed."""
        path = self._refusal(key)
        try:
            stored = json_value(path.read_text())
            found = Refusal(Status(stored["status"]), str(stored["message"]), str(stored["log"]))
            if found.lasts():
                return found
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            pass  # half a file, or another mkgen's: removed below
        path.unlink(missing_ok=True)
        return None

    def put_refusal(self, key: str, refusal: Refusal) -> None:
        """Stores `refusal` where it lasts; a passing fault of the machine is not kept."""
        if refusal.lasts():
            content = {
                "status": refusal.status.value,
                "message": refusal.message,
                "log": refusal.log[-_LOG_CHARACTERS:],
            }
            atomic_write(self._refusal(key), canonical_json(content))

    def _entry(self, key: str) -> Path:
        return self._root / key[:2] / key[2:]

    def _refusal(self, key: str) -> Path:
        return self._root / key[:2] / f"{key[2:]}.refused.json"
