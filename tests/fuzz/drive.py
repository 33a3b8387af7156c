"""Feeding one surface: each input watched and timed, each new way of failing kept once."""

from __future__ import annotations

import gc
import random
import resource
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from .mutate import mutate
from .surface import Surface
from .watch import watched

#: CPU seconds that no input may take.
SLOWEST = 1.0
#: Address space that a surface may take beyond what is there when it starts.
_MEMORY = 2 << 30
_MOST_KINDS = 20


@dataclass(frozen=True)
class Crash:
    """An input that a parser neither read nor refused in mkgen's words."""

    surface: str
    kind: str
    """Exception and place, `ValueError at mkgen/profile.py:96`; `slow` for one above the limit."""
    message: str
    data: bytes


@dataclass
class Tally:
    """What was seen of one surface."""

    surface: str
    inputs: int = 0
    slowest: float = 0.0
    """CPU seconds."""
    slowest_input: bytes = b""
    crashes: dict[str, Crash] = field(default_factory=dict)


def warm_up(surface: Surface) -> list[bytes]:
    """The seeds, each read once unwatched: what is imported or cached at first use is now there."""
    seeds = surface.seeds()
    for data in seeds:
        surface.target(data)
    return seeds


def limit_memory() -> None:
    """Makes a parser that allocates what an input claims fail, instead of the machine."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, resource.RLIM_INFINITY))


def feed(surface: Surface, data: bytes, tally: Tally) -> bool:
    """Gives `data` to the surface; whether it was dealt with as it should be."""
    began = time.thread_time()
    crash: Crash | None = None
    try:
        with watched():
            surface.target(data)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a parser lets out is a finding
        crash = Crash(surface.name, _kind(error), f"{error}"[:300], data)
    seconds = time.thread_time() - began
    tally.inputs += 1
    if seconds > tally.slowest:
        tally.slowest, tally.slowest_input = seconds, data
    if crash is None and seconds > SLOWEST:
        crash = Crash(surface.name, "slow", f"{seconds:.2f} s", data)
    if crash is None:
        return True
    known = tally.crashes.get(crash.kind)
    if (known and len(data) < len(known.data)) or (not known and len(tally.crashes) < _MOST_KINDS):
        tally.crashes[crash.kind] = crash
    return False


def by_mutation(
    surface: Surface,
    runs: int,
    seconds: float,
    seed: int,
    each: Callable[[bytes], None] = lambda data: None,
) -> Tally:
    """Up to `runs` mutated inputs in at most `seconds`; `each` is told of an input before it runs.

    Without coverage, what is kept to mutate further is what fails in words not seen before.
    """
    chance = random.Random(f"{surface.name} {seed}")
    pool = warm_up(surface)
    tally = Tally(surface.name)
    gc.freeze()
    end = time.monotonic() + seconds
    for data in pool:
        each(data)
        feed(surface, data, tally)
    while tally.inputs < runs and time.monotonic() < end:
        data = mutate(
            chance, chance.choice(pool), chance.choice(pool), surface.form, surface.tokens
        )
        data = data[: surface.longest * (4 if chance.random() < 0.02 else 1)]
        each(data)
        if feed(surface, data, tally) and chance.random() < 0.01:
            # a drifting pool: inputs several mutations away from anything real
            pool.append(data) if len(pool) < 500 else pool.__setitem__(chance.randrange(500), data)
    return tally


def _kind(error: BaseException) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/mkgen/" in f.filename]
    place = "the test itself"
    if frames:
        last = frames[-1]
        place = f"mkgen/{last.filename.rpartition('/mkgen/')[2]}:{last.lineno}"
    return f"{type(error).__name__} at {place}"
