"""PyTorch's own rounding errors, block by block: what budgets are made of."""

from __future__ import annotations

import math

import numpy as np

from mkgen.evaluate.compare import Squares, blocks


def own_spread(oracle: np.ndarray, own: np.ndarray, floor: np.ndarray) -> float:
    """PyTorch's root mean square error, or that of one rounding, in units in the last place."""
    squares, wide = Squares(own.dtype), np.broadcast_to(floor, oracle.shape)
    for block in blocks(oracle.shape):
        have = own[block].astype(np.float64)
        finite = np.isfinite(oracle[block]) & np.isfinite(have)
        error = np.abs(np.where(finite, oracle[block], 0.0) - np.where(finite, have, 0.0))
        squares.see(error, oracle[block], wide[block], finite)
    return max(squares.mean(), 1 / math.sqrt(12))


def own_error(oracle: np.ndarray, own: np.ndarray) -> float:
    """PyTorch's worst absolute error."""
    worst = 0.0
    for block in blocks(oracle.shape):
        with np.errstate(invalid="ignore", over="ignore"):
            worst = max(worst, _largest_of(oracle[block] - own[block].astype(np.float64)))
    return worst


def own_share(oracle: np.ndarray, own: np.ndarray, floor: np.ndarray) -> float:
    """PyTorch's worst error as a share of `floor`, where that is not zero."""
    worst, wide = 0.0, np.broadcast_to(floor, oracle.shape)
    for block in blocks(oracle.shape):
        with np.errstate(invalid="ignore", over="ignore"):
            off = np.abs(oracle[block] - own[block].astype(np.float64))
        allowed = wide[block]
        at = np.isfinite(off) & np.isfinite(allowed) & (allowed > 0)
        worst = max(worst, float(np.max(off[at] / allowed[at], initial=0.0)))
    return worst


def largest(array: np.ndarray) -> float:
    """The largest finite magnitude in `array`; 0 where there is none."""
    return max((_largest_of(array[block]) for block in blocks(array.shape)), default=0.0)


def _largest_of(array: np.ndarray) -> float:
    return float(np.max(np.abs(array), where=np.isfinite(array), initial=0.0))
