"""The figure that evolution is held to: with a stand-in for the model, by the real protocol.

At least 60 % of the reachable cells are filled, the best is never lost, and it goes on after kills.
"""

from __future__ import annotations

import os
import random
import signal
import time

import pytest
from evolve_support import CPU, OPENCL, QUESTION, ROW_SUM, StandIn, evaluator, real_judge
from test_evolve import _entries, _lines, folded

from mkgen.evaluate.pool import Workers
from mkgen.llm.archive import rank
from mkgen.llm.describe import reachable
from mkgen.llm.evolve import JOURNAL, Effort, evolve
from mkgen.record import Status

EFFORT = Effort(48, seed=1, seeds=2)
KILLS = 3


@pytest.mark.acceptance
@pytest.mark.timeout(3600)
def test_evolution_fills_the_archive(tmp_path):
    run = tmp_path / "run"
    path = run / JOURNAL
    reachable(ROW_SUM, OPENCL, CPU)  # lowers the task before anything is forked
    before, chance = b"", random.Random(0)
    for kill in range(1, KILLS + 1):
        child = os.fork()
        if child == 0:
            try:
                _evolved(tmp_path, EFFORT)
            finally:
                os._exit(1)
        while _lines(path) < 4 * kill and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.1)
        time.sleep(chance.random() * 5)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        data = path.read_bytes()
        data = data[: data.rfind(b"\n") + 1]
        assert data.count(b"\n") > 1 and data.startswith(before), "a finished entry was lost"
        before = data
    made = _evolved(tmp_path, EFFORT)
    assert path.read_bytes().startswith(before)
    best = None
    archive = folded([], islands=EFFORT.islands, seed=EFFORT.seed)
    for entry in _entries(path.read_bytes()):
        archive.add(entry)
        if best is not None:
            assert rank(archive.best()) <= rank(best), "the best was lost"
        best = archive.best()
    assert archive.elites() == made.archive.elites()
    failed = sum(e.status is not Status.PASS for e in archive.entries)
    filled = sum(c in archive.elites() for c in archive.reachable)
    print(
        f"\n{filled} of {len(archive.reachable)} reachable cells ({archive.coverage():.0%}) after "
        f"{len(archive.entries)} evaluations, {failed} of which failed; {KILLS} kills"
    )
    assert archive.coverage() >= 0.6
    assert failed, "the stand-in is wrong now and then, and that is seen"


def _evolved(directory, effort):
    with Workers(2, hidden=[directory]) as workers:
        judge = real_judge(workers, directory / "cache")
        return evolve(QUESTION, StandIn(), evaluator(judge), judge, directory / "run", effort)
