"""Short names for kernels: they prefix constants and functions of a file with several."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from mkgen.ir.kernel import Kernel

#: What PyTorch calls a node -> what a person calls the kernel.
_SHORTER = (
    (r"scaled_dot_product_attention", "attention"),
    (r"_with_indices_at_position", "_indices"),
    (r"_with_indices", ""),
    (r"cross_entropy_loss", "cross_entropy"),
    (r".*num_batches_tracked_update", "batch_count"),
    (r"_update$", ""),
    (r"(?<=\w)_$", ""),
)


def is_update(name: str) -> bool:
    """Whether a nest only writes the next value of a state, beside what a layer computes."""
    return name.endswith("_update")


def short(name: str) -> str:
    """`attention` for `scaled_dot_product_attention`."""
    for pattern, shorter in _SHORTER:
        name = re.sub(pattern, shorter, name)
    return name


def with_short_names(kernels: Sequence[Kernel]) -> tuple[Kernel, ...]:
    """`kernels` with short names, each its own."""
    made: list[Kernel] = []
    taken: set[str] = set()
    for kernel in kernels:
        wish = name = short(kernel.name)
        count = 1
        while name in taken:
            count += 1
            name = f"{wish}{count}"
        taken.add(name)
        made.append(replace(kernel, name=name))
    return tuple(made)
