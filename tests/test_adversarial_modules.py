"""ModelNew files that cheat: each ends in the status that names how, none passes.

Where a tripwire would stop the file before it runs, it is run without wires as well: they are not
the boundary. On a GPU: benchmarks/device_adversarial.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from module_support import MODULES, NORM, SETTINGS, SOFTMAX, judge

from mkgen.evaluate.pool import Workers
from mkgen.evaluate.tripwires import findings
from mkgen.record import Status

TARGET = "triton:sm_90"
DATA = Path(__file__).parent / "data" / "native"


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(1) as made:
        yield made


def test_an_honest_module_passes(workers: Workers) -> None:
    record = judge(DATA / "softmax_module.py", SOFTMAX, TARGET, workers)
    assert record.status is Status.PASS, record.reason
    assert record.origin == "module" and "tripwires" in record.checks
    assert [e.kind.value for e in record.evidence] == ["emulated"], "nothing was compiled"
    assert record.artifacts[0].format == "python"


@pytest.mark.parametrize(
    ("name", "status", "word"),
    [
        ("result_reuse", Status.WRONG_OUTPUT, ""),
        ("result_reuse_no_kernel", Status.REFUSED, "no kernel of its own ran"),
        ("input_zeroing", Status.INPUT_CHANGED, "changed its input 'x'"),
    ],
)
def test_a_cheat_that_no_tripwire_sees(
    name: str, status: Status, word: str, workers: Workers
) -> None:
    path = MODULES / f"{name}.py"
    assert findings(path.read_text(), "python", path.name) == []
    record = judge(path, SOFTMAX, TARGET, workers, wires=False)
    assert record.status is status, record.reason
    assert word in record.reason


@pytest.mark.parametrize(
    ("name", "word", "status", "without"),
    [
        ("fallback", "goes another way", Status.REFUSED, "no kernel of its own ran"),
        ("subclass", "poses as a tensor", Status.REFUSED, "must be a torch.Tensor itself"),
        ("library", "torch.softmax", Status.REFUSED, "no kernel of its own ran"),
    ],
)
def test_a_cheat_that_a_tripwire_names(
    name: str, word: str, status: Status, without: str, workers: Workers
) -> None:
    path = MODULES / f"{name}.py"
    wired = judge(path, SOFTMAX, TARGET, workers)
    assert wired.status is Status.REFUSED
    assert word in wired.reason and f"{name}.py:" in wired.reason
    record = judge(path, SOFTMAX, TARGET, workers, wires=False)
    assert record.status is status, record.reason
    assert without in record.reason


def test_parameters_must_be_the_references(workers: Workers) -> None:
    record = judge(MODULES / "forgotten_parameters.py", NORM, TARGET, workers, wires=False)
    assert record.status is Status.REFUSED
    assert "has no norm.bias, norm.weight" in record.reason


def test_a_side_stream_is_refused(workers: Workers) -> None:
    record = judge(MODULES / "side_stream.py", SOFTMAX, TARGET, workers)
    assert record.status is Status.REFUSED
    assert "side_stream.py:23: torch.cuda.Stream" in record.reason


@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no GPU: a stream needs one")
def test_a_side_stream_is_seen_without_tripwires(workers: Workers) -> None:
    from mkgen_triton.device import device_arch

    settings = replace(SETTINGS, device=True, emulate=False)
    record = judge(
        MODULES / "side_stream.py", SOFTMAX, f"triton:{device_arch()}", workers,
        wires=False, settings=settings,
    )  # fmt: skip
    assert record.status is Status.REFUSED
    assert "on a stream of its own" in record.reason
