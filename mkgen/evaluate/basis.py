"""What an evaluation stands on besides task and target: the code, the settings, the toolchains.

Records of the same basis need not be made again; with another compiler, template or seed they do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import mkgen
from mkgen.codegen.backend import Backend
from mkgen.document import content_hash
from mkgen.evaluate.cache import file_sha, plugin_hashes
from mkgen.evaluate.jobs import compiler_identity, describe
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.process import WorkerFailure
from mkgen.evaluate.protocol import Settings
from mkgen.record import EvidenceKind
from mkgen.share import share_root

#: Parts of mkgen that decide nothing of a record: words, and packages made of it.
_BESIDE = ("cli", "package")
_REFERENCE = ("torch", "numpy", "ml_dtypes")


def basis_of(backend: Backend, workers: Workers, settings: Settings) -> str:
    """The basis of every record that `backend` gets with these `settings`, as a hash."""
    return workers.remember(
        ("basis", backend.name, _settings(settings)),
        lambda: content_hash(
            _engine(),
            *plugin_hashes(type(backend)),
            _settings(settings),
            _toolchains(backend, workers),
        ),
    )


def _settings(settings: Settings) -> str:
    return (
        f"seed {settings.judge.seed} emulate {settings.emulate} device {settings.device} "
        f"samples {settings.samples} in {settings.timing_seconds} s beside {settings.compare} "
        f"schedules {settings.heldout_schedules} "
        f"sanitize {settings.sanitize or EvidenceKind.SANITIZED in settings.require}"
    )


@cache
def _engine() -> str:
    """Everything of mkgen that a record depends on, and the libraries the oracle computes with."""
    root = Path(mkgen.__file__).parent
    code = [f for f in root.rglob("*.py") if f.relative_to(root).parts[0] not in _BESIDE]
    shared = [
        file
        for name in ("templates", "hardware_profiles")
        for file in share_root(name).rglob("*")
        if file.is_file()
    ]
    return content_hash(
        *(f"{file.name} {file_sha(file)}" for file in sorted([*code, *shared])),
        *(f"{name} {_version(name)}" for name in _REFERENCE),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _toolchains(backend: Backend, workers: Workers) -> str:
    """The compiler, and what executes without a device; why not, where one is not here."""
    told = [
        _answer(
            lambda: workers.remember(
                ("identity", backend.name), lambda: compiler_identity(workers, backend)
            )
        )
    ]
    for executor in backend.executors():
        if executor.role == "emulate":
            told.append(_answer(partial(_emulator, backend, workers, executor.name)))
    return content_hash(*told)


def _emulator(backend: Backend, workers: Workers, executor: str) -> str:
    with workers.lease(backend, "emulate") as lease:
        found = describe(lease, executor)
    return f"{executor} {found.compiler} {found.compiler_sha}"


def _answer(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except WorkerFailure as failure:
        return failure.message
