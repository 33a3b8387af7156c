"""Winners: the parameters that were fastest on a device, kept for the next `gen` and `eval`.

A winner holds for one computation, class of sizes, precision and target. It is fresh where the
toolchain, the templates and the generated text are those it was measured with, else stale.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from mkgen.codegen.candidate import Generator, TemplateCandidate
from mkgen.codegen.render import parameter_prefix
from mkgen.codegen.template import Parameters, template_roots
from mkgen.document import Document, canonical_json, content_hash
from mkgen.errors import UnsupportedError, UserError
from mkgen.evaluate.seen import Seen
from mkgen.files import atomic_write, exclusive
from mkgen.program import PrecisionClass
from mkgen.reading import read_text
from mkgen.record import ParameterSource
from mkgen.share import share_root
from mkgen.target import Target
from mkgen.task import Sizes, Task

#: Sizes up to this are a class of their own: filters, strides and heads decide what code does.
_EXACT = 16
_MAX_SHELF_BYTES = 64 << 20


class Winner(Document):
    """The fastest right candidate of one search, and what it was measured with."""

    task: str
    computation: str
    """Hash of what the task computes; the sizes it is judged at are not part of it."""
    workload_class: str
    target: Target
    """With the device, whether or not the command named one."""
    precision: PrecisionClass
    toolchain: str
    """Version and binary hash of the compiler."""
    template_sha: str
    """Hash of every template that fitted, the winner's and the others'."""
    text_sha: str
    """Hash of the generated text without its sizes."""
    templates: tuple[str, ...]
    """One per kernel, in step order."""
    parameters: dict[str, int | str | bool]
    sizes: Sizes
    """Of the workload that was measured."""
    seconds: float
    """Median."""
    samples: int
    device: str
    """What the driver calls the device."""
    measured: str
    """Day of the measurement, `2026-11-21`."""
    trials: int
    """How many candidates were tried."""
    legal: int
    """How many were legal."""

    @property
    def seal(self) -> str:
        """Hash of all that it says: what is noted where it was measured (mkgen.evaluate.seen)."""
        return content_hash("winner", self.canonical_json())

    @property
    def key(self) -> str:
        """What it is looked up by."""
        return winner_key(self.computation, self.workload_class, self.target, self.precision)


class _Shelf(Document):
    """The file of one device."""

    schema_version: int = 1
    winners: tuple[Winner, ...] = ()


@dataclass(frozen=True)
class Found:
    """A winner that fits, as a candidate, and what can be said of its parameters."""

    winner: Winner
    candidate: TemplateCandidate
    source: ParameterSource


def winner_key(computation: str, sizes: str, target: Target, precision: PrecisionClass) -> str:
    """The key of a winner."""
    return f"{computation} {target} {precision.value} {sizes}"


def computation_hash(task: Task) -> str:
    """SHA-256 of what `task` computes, its name and sizes aside: --shape does not change it."""
    document = task.model_dump(mode="json")
    kept = {k: document[k] for k in ("inputs", "init", "precision", "source")}
    return content_hash("computation 1", canonical_json(kept))


def workload_class(sizes: Sizes) -> str:
    """`COLS=2^12 K=3 ROWS=2^12`: sizes above 16 by the power of two below them."""
    return " ".join(
        f"{name}={value}" if value <= _EXACT else f"{name}=2^{value.bit_length() - 1}"
        for name, value in sorted(sizes.items())
    )


def template_hash(generator: Generator) -> str:
    """SHA-256 of the files of every template that fits a kernel, and of what they include."""
    files = {t.path for kernel in generator.kernels for t in generator.templates(kernel)}
    return content_hash("templates 1", *(_file_text(path) for path in sorted(files)), *_helpers())


@functools.cache
def _file_text(path: Path) -> str:
    return path.read_text()


@functools.cache
def _helpers() -> tuple[str, ...]:
    """Files that templates include; one that another dialect uses counts as well."""
    found = sorted(path for root in template_roots() for path in root.glob("*/_*.j2"))
    return tuple(_file_text(path) for path in found)


def device_target(generator: Generator) -> Target:
    """The generator's target with the device its parameters are for."""
    return generator.target.model_copy(update={"device": generator.profile.name})


def default_winners_directory() -> Path:
    """`MKGEN_WINNERS`, else the user's XDG data directory."""
    chosen = os.environ.get("MKGEN_WINNERS")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "mkgen" / "winners"


class Winners:
    """The user's winners, one file per device, and behind them those that ship with mkgen."""

    def __init__(self, directory: Path | None = None, seen: Seen | None = None) -> None:
        """UserError names a file that cannot be read, before anything is done with the others."""
        self.directory = directory or default_winners_directory()
        self._seen = seen or Seen()
        self._roots = (self.directory, share_root("hardware_profiles") / "winners")
        for root in self._roots:
            for path in sorted(root.glob("*.json")):
                _shelf(path)

    def put(self, winner: Winner) -> Path:
        """Stores `winner` in the place of the one with its key; gives the file."""
        path = self.directory / f"{winner.target.device}.json"
        self._seen.add(winner.seal)
        with exclusive(path.with_suffix(".lock")):
            others = [w for w in _shelf(path).winners if w.key != winner.key]
            kept = sorted([*others, winner], key=lambda w: (w.task, w.key))
            lines = ",\n".join(w.canonical_json() for w in kept)
            atomic_write(path, f'{{"schema_version":1,"winners":[\n{lines}\n]}}\n')
        return path

    def get(self, key: str, device: str) -> Winner | None:
        """The winner under `key` on `device`; the user's own before one of ours."""
        for root in self._roots:
            for winner in _shelf(root / f"{device}.json").winners:
                if winner.key == key:
                    return winner
        return None

    def find(self, generator: Generator, toolchain: str) -> Found | None:
        """The winner for `generator`'s task, sizes and device; None where none can be used."""
        target = device_target(generator)
        classed = workload_class(generator.workload.sizes)
        key = winner_key(
            computation_hash(generator.task), classed, target, generator.precision
        )  # fmt: skip
        winner = self.get(key, str(target.device))
        if winner is None:
            return None
        candidate = candidate_of(generator, winner.templates, winner.parameters)
        if candidate is None:
            return None
        try:
            program = candidate.program(generator.workload)
        except UnsupportedError:
            return None  # not legal at these sizes, which are not those of the measurement
        reason = _stale(winner, toolchain, template_hash(generator), program.text_sha)
        kind: Literal["tuned", "stale", "reported"] = "stale" if reason else "tuned"
        if not self._measured(winner):
            kind, reason = "reported", "no search of this user's measured it as it stands there"
        source = ParameterSource(
            kind=kind,
            device=winner.device,
            seconds=winner.seconds,
            samples=winner.samples,
            sizes=winner.sizes if winner.sizes != generator.workload.sizes else {},
            reason=reason,
        )
        return Found(winner, candidate, source)

    def _measured(self, winner: Winner) -> bool:
        """Whether a search of this user's found it, or it ships with mkgen as it is."""
        if winner.seal in self._seen:
            return True
        shelf = _shelf(self._roots[-1] / f"{winner.target.device}.json")
        return winner in shelf.winners


def candidate_of(
    generator: Generator, names: tuple[str, ...], parameters: Parameters
) -> TemplateCandidate | None:
    """The candidate with the templates and parameters of a winner; None when they are gone."""
    if len(names) != len(generator.kernels):
        return None
    chosen, own = [], []
    for kernel, name in zip(generator.kernels, names, strict=True):
        template = next((t for t in generator.templates(kernel) if t.name == name), None)
        if template is None:
            return None
        prefix = parameter_prefix(generator.kernels, kernel)
        values = {k.removeprefix(prefix): v for k, v in parameters.items() if k.startswith(prefix)}
        if values.keys() != template.spec.parameters.keys():
            return None
        chosen.append(template)
        # in the template's own order, which is that of the constants in the text
        own.append({k: values[k] for k in template.spec.parameters})
    return generator.candidate(tuple(chosen), own)


def _stale(winner: Winner, toolchain: str, templates: str, text: str) -> str:
    differs = {
        "another toolchain": winner.toolchain != toolchain,
        "other templates": winner.template_sha != templates,
        "another text": winner.text_sha != text,
    }
    return ", ".join(what for what, is_so in differs.items() if is_so)


def _shelf(path: Path) -> _Shelf:
    if not path.exists():
        return _Shelf()
    return _parsed(path, read_text(path, f"winners {path}", _MAX_SHELF_BYTES))


@functools.lru_cache(maxsize=8)  # `eval` asks once per task
def _parsed(path: Path, text: str) -> _Shelf:
    try:
        return _Shelf.model_validate_json(text)
    except ValidationError as error:
        raise UserError(
            f"winners {path} cannot be read ({error.errors()[0]['msg']}); move it away, and tune "
            "again or use the mkgen that wrote it"
        ) from error
