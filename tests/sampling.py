"""What the normal run tests of a long list; the rest runs by `make acceptance`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pytest


def every(step: int, items: Sequence[Any]) -> list[Any]:
    """`items` as parameters, all but every `step`-th marked `acceptance`."""
    return [
        item if position % step == 0 else pytest.param(item, marks=pytest.mark.acceptance)
        for position, item in enumerate(items)
    ]


def those(names: Iterable[str], wanted: Collection[str]) -> list[object]:
    """All of `names`; those that are not in `wanted` only with `-m acceptance`."""
    return [n if n in wanted else pytest.param(n, marks=pytest.mark.acceptance) for n in names]
