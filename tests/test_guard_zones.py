"""Guard zones: what is read beside one buffer and written beside another must show."""

from __future__ import annotations

import gc
import itertools
import weakref

import numpy as np
import pytest
import torch

from mkgen.program import Buffer, BufferRole
from mkgen_simt.memory import guard_pattern, numpy_dtype
from mkgen_triton.guards import Guards

FLOATS = ("float16", "bfloat16", "float32", "float64")


@pytest.mark.parametrize("dtype", FLOATS)
def test_given_temporary_and_returned_buffers_have_other_words(dtype: str) -> None:
    roles = (BufferRole.INPUT, BufferRole.TEMPORARY, BufferRole.OUTPUT)
    for names in itertools.product(("x", "y", "total"), repeat=3):
        pairs = zip(names, roles, strict=True)
        found = [guard_pattern(Buffer(name=n, role=r, dtype=dtype, shape=(3,))) for n, r in pairs]
        assert len({zone.tobytes() for zone in found}) == 3
        for zone in found:
            values = zone.view(numpy_dtype(dtype)).astype(np.float64)
            assert np.isnan(values).all()


def test_a_difference_of_what_lies_beside_two_buffers_is_seen() -> None:
    """As a CPU computes it: NaN - NaN has the bits of the first."""
    kinds = (("cumsum", BufferRole.TEMPORARY), ("x", BufferRole.INPUT), ("y", BufferRole.OUTPUT))
    cumsum, x, y = (
        guard_pattern(Buffer(name=n, role=r, dtype="float32", shape=(3,))).view(np.float32)
        for n, r in kinds
    )
    assert (cumsum - x).tobytes() != y.tobytes()


@pytest.mark.parametrize("dtype", FLOATS)
def test_tensors_of_a_launcher_have_other_words(dtype: str) -> None:
    guards = Guards()
    for number in range(8):
        guards.allocate(str(number), (3,), getattr(torch, dtype), given=number == 0)
    zones = [zone for _, _, zone in guards._held]
    assert len({zone.numpy().tobytes() for zone in zones}) == 8
    assert all(zone.view(getattr(torch, dtype)).isnan().all() for zone in zones)


def test_what_a_launcher_drops_stays_until_the_run_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unmapping waits for no kernel: one in flight may still use it."""
    arrays: list[weakref.ref[np.ndarray]] = []

    def memory(self: Guards, size: int) -> torch.Tensor:
        array = np.zeros(size, np.uint8)
        arrays.append(weakref.ref(array))
        return torch.from_numpy(array)

    monkeypatch.setattr(Guards, "_at_the_fence", memory)
    guards = Guards(fenced=True)
    guards.allocate("dropped at once", (8,), torch.float32)
    gc.collect()
    assert arrays[0]() is not None
    del guards
    gc.collect()
    assert arrays[0]() is None
