"""What an evaluation stands on besides task and target: the code, the settings, the toolchains.

Records of the same basis need not be made again; with another compiler, template or seed they do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import mkgen
from mkgen.codegen.backend import Backend, Executor
from mkgen.document import canonical_json, content_hash
from mkgen.evaluate.cache import file_sha, plugin_hashes, variables
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
            canonical_json(variables(backend)),
            _toolchains(backend, workers, settings.device),
        ),
    )


def _settings(settings: Settings) -> str:
    return (
        f"seed {settings.judge.seed} emulate {settings.emulate} device {settings.device} "
        f"samples {settings.samples} in {settings.timing_seconds} s beside {settings.compare} "
        f"schedules {settings.heldout_schedules} "
        f"sanitize {settings.sanitize or EvidenceKind.SANITIZED in settings.require} "
        # what did not end in time may do so with more of it
        f"timeouts {settings.compile_timeout} {settings.run_timeout} {settings.own_run_timeout}"
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
    """Version and the list of its files' hashes: nightlies share version strings."""
    try:
        found = distribution(package)
    except PackageNotFoundError:
        return "unknown"
    return f"{found.version} {content_hash(found.read_text('RECORD') or '')}"


def _toolchains(backend: Backend, workers: Workers, on_device: bool) -> str:
    """The compiler, and what executes; why not, where one is not here."""
    told = [
        _answer(
            lambda: workers.remember(
                ("identity", backend.name), lambda: compiler_identity(workers, backend)
            )
        )
    ]
    for executor in backend.executors():
        if executor.role == "emulate" or on_device:
            told.append(_answer(partial(_executor, backend, workers, executor)))
    return content_hash(*told)


def _executor(backend: Backend, workers: Workers, executor: Executor) -> str:
    with workers.lease(backend, executor.role) as lease:
        found = describe(lease, executor.name)
    where = found.ran_on.canonical_json() if executor.role == "device" else ""
    return f"{executor.name} {found.compiler} {found.compiler_sha} {where}"


def _answer(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except WorkerFailure as failure:
        return failure.message
