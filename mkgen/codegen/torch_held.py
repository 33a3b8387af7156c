"""PyTorch's functions, taken hold of before a candidate is imported that could replace them."""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np


class Held:
    """PyTorch's functions and the host's clock, as they are when this is made."""

    def __init__(self) -> None:
        import torch

        self.now = time.perf_counter
        self.event: Any = torch.Event
        self.synchronize: Any = torch.accelerator.synchronize
        self.roll: Any = torch.roll
        self.tensor: Any = torch.Tensor
        self.clone: Any = torch.Tensor.clone
        self.copy: Any = torch.Tensor.copy_
        self.fill: Any = torch.Tensor.fill_
        self.zero: Any = torch.Tensor.zero_
        self.to: Any = torch.Tensor.to
        self._detach: Any = torch.Tensor.detach
        self._cpu: Any = torch.Tensor.cpu
        self._contiguous: Any = torch.Tensor.contiguous
        self._view: Any = torch.Tensor.view
        self._numpy: Any = torch.Tensor.numpy

    def array(self, tensor: Any) -> np.ndarray:
        """A private copy of what `tensor` holds; bfloat16 as `ml_dtypes.bfloat16`."""
        import torch

        host = self._contiguous(self._cpu(self._detach(tensor)))
        if host.dtype != torch.bfloat16:
            return np.array(self._numpy(host), order="C", copy=True)
        import ml_dtypes

        bits: np.ndarray = self._numpy(self._view(host, torch.int16))
        return np.array(bits.view(ml_dtypes.bfloat16))


@functools.cache
def held() -> Held:
    """The functions as they were when this was first called: before a candidate is imported."""
    return Held()
