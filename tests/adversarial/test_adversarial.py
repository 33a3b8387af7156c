"""Programs that try to fool the protocol end as they should, and pass where a defence is off."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from attacks import ATTACKS, Attack
from defences import LocalWorkers
from evaluate_support import PROFILE
from hostile import HostileBackend, HostileCandidate

from mkgen.codegen.backend import Arch
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.oracle import Judge
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import Settings, evaluate
from mkgen.record import Status


def scales(task, workload, inputs):
    """A bound of float32's rounding for functions of one element or a row of them."""
    x = np.abs(inputs["x"].astype(np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        bound = {"small": x * 1e-3, "nearly_one": 1 + x, "softmax_of_many": np.ones_like(x)}
        found = bound.get(task.name, 2 * x + (task.name == "layer_norm_of_many"))
    return [(found, 64.0)]


@pytest.fixture(scope="module", autouse=True)
def plugin(tmp_path_factory):
    """The hostile backend, importable here and in workers."""
    place = tmp_path_factory.mktemp("hostile")
    (place / "fake1.toml").write_text(PROFILE)
    info = place / "hostile_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mkgen.backends]\nhostile = hostile:HostileBackend\n")
    here = Path(__file__).parent
    path = [str(here.parents[1]), str(here.parent), str(here), str(place)]
    path += [os.environ.get("PYTHONPATH", "")]
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", os.pathsep.join(p for p in path if p))
    patch.syspath_prepend(str(place))
    arch = Arch("one", "Hostile One", 32, str(place / "fake1.toml"))
    patch.setattr(HostileBackend, "archs", {"one": arch})
    yield place
    patch.undo()


@pytest.fixture(scope="module")
def workers(plugin):
    with Workers(resident_bytes=700 << 20) as made:
        yield made


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A text is compiled once, not again where a defence is off."""
    return CompileCache(tmp_path_factory.mktemp("cache"))


def judged(candidate, workers, cache=None, **changes):
    settings = {"judge": Judge(scales), "run_timeout": 60.0, "compile_timeout": 60.0} | changes
    return evaluate(candidate, workers, Settings(cache=cache, **settings))


#: One of each kind of defence: every one starts four processes.
QUICK = (
    "zeros", "identity", "nan-wildcard", "hard-coded-sizes", "memorised-answers",
    "replay-by-pointer", "other-bits-each-time", "input-made-to-agree", "answer-found-in-memory",
    "behaves-under-a-test", "no-outputs-at-all", "hidden-in-base64",
)  # fmt: skip
EACH = [
    pytest.param(a, id=a.name, marks=() if a.name in QUICK else pytest.mark.acceptance)
    for a in ATTACKS
]


@pytest.mark.parametrize("attack", EACH)
def test_it_ends_as_it_should_and_only_its_defence_stops_it(workers, cache, attack: Attack):
    with attack.surroundings():
        record = judged(attack.candidate(), workers, cache, **attack.settings)
    assert record.status is attack.status, record.reason
    assert re.search(attack.reason, record.reason), record.reason
    changed = attack.settings | attack.without
    with attack.surroundings(), attack.off():
        if attack.local:
            with LocalWorkers() as local:
                fooled = judged(attack.candidate(), local, cache, **changed)
        else:
            fooled = judged(attack.candidate(), workers, cache, **changed)
    assert fooled.status is Status.PASS, fooled.reason


def test_an_honest_text_passes(workers):
    text = "def kernel(x, y):\n    y[...] = x * 2\n"
    record = judged(HostileCandidate(text), workers)
    assert record.status is Status.PASS, record.reason
    assert record.seed not in (None, 0)
    again = judged(HostileCandidate(text), workers)
    assert again.seed != record.seed
    assert {"structured offset", "thin m-1"} <= set(record.checks)


def test_the_seed_is_drawn_after_the_text_was_loaded(workers, monkeypatch):
    from mkgen.evaluate import draws
    from mkgen.evaluate.pool import Lease

    order = []
    call = Lease.call

    def noted(self, job, timeout, **arguments):
        order.append(job)
        return call(self, job, timeout, **arguments)

    monkeypatch.setattr(Lease, "call", noted)
    monkeypatch.setattr(draws, "secret_seed", lambda: order.append("seed") or 7)
    record = judged(HostileCandidate("def kernel(x, y):\n    y[...] = x * 2\n"), workers)
    assert record.status is Status.PASS and record.seed == 7
    assert order.count("seed") == 1
    assert order.index("load") < order.index("seed") < order.index("run")
