"""Pass@k, the chance that one of k answers passes, estimated without bias from n >= k answers.

Chen et al., Evaluating Large Language Models Trained on Code (2021), section 2.1.
"""

from __future__ import annotations

from collections.abc import Sequence


def pass_at_k(n: int, c: int, k: int) -> float:
    """1 - C(n-c, k) / C(n, k) for `c` passes among `n` answers.

    Computed as a product of factors below one, so that nothing overflows. ValueError unless
    0 <= c <= n and 1 <= k <= n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@{k} of {c} passes among {n} answers is not defined")
    if n - c < k:
        return 1.0
    failing = 1.0
    for i in range(n - c + 1, n + 1):
        failing *= 1.0 - k / i
    return 1.0 - failing


def mean_pass_at_k(counts: Sequence[tuple[int, int]], k: int) -> float:
    """The mean over questions, each (answers, passes). ValueError without questions."""
    if not counts:
        raise ValueError("there are no questions to take a mean over")
    return sum(pass_at_k(n, c, k) for n, c in counts) / len(counts)
