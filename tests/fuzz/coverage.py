"""The coverage-guided driver: atheris (libFuzzer) with this package's own mutations beside its."""

from __future__ import annotations

import random
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from .drive import Tally, feed, warm_up
from .mutate import mutate
from .surface import Surface

#: What is instrumented; pydantic's validators and json's scanner are machine code.
_INSTRUMENTED = ("mkgen", "tomllib")


def import_instrumented() -> None:
    """To be called before the surfaces are imported. ImportError where there is no atheris."""
    import atheris

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with atheris.instrument_imports(include=list(_INSTRUMENTED)):
            from .surfaces import surfaces

            surfaces()


def by_coverage(
    surface: Surface,
    runs: int,
    seconds: float,
    seed: int,
    each: Callable[[bytes], None],
    corpus: Path,
    finish: Callable[[Tally], None],
) -> None:
    """As `by_mutation`, but inputs that reach new branches are mutated further; never returns.

    libFuzzer ends the process: `finish` gets the tally and has to leave. `corpus` is a directory
    of seeds.
    """
    import atheris

    seeds = warm_up(surface)
    for number, data in enumerate(seeds):
        (corpus / str(number)).write_bytes(data)
    tally = Tally(surface.name)
    end = time.monotonic() + seconds

    def one(data: bytes) -> None:
        each(data)
        feed(surface, data, tally)
        if tally.inputs >= runs or time.monotonic() > end:
            finish(tally)

    def own(data: bytes, most: int, number: int) -> bytes:
        chance = random.Random(number)
        if chance.random() < 0.3:
            return atheris.Mutate(data, most)  # type: ignore[no-any-return]
        other = chance.choice(seeds)
        # libFuzzer begins with nothing now and then, from which little comes
        start = data if len(data) > 2 else other
        return mutate(chance, start, other, surface.form, surface.tokens)[:most]

    options = [
        f"-seed={seed + 1}", f"-max_len={surface.longest * 4}", "-len_control=0", "-rss_limit_mb=0",
        "-malloc_limit_mb=0", "-timeout=3600", "-verbosity=0", "-print_final_stats=0",
        "-detect_leaks=0", "-handle_abrt=0",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], one, custom_mutator=own)
    atheris.Fuzz()
    finish(tally)
