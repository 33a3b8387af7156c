"""Pass@k against counting every choice of k answers."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkgen.llm.pass_at_k import mean_pass_at_k, pass_at_k


@pytest.mark.parametrize("n", range(1, 9))
def test_as_counted(n):
    for c in range(n + 1):
        answers = [i < c for i in range(n)]
        for k in range(1, n + 1):
            chosen = list(combinations(answers, k))
            counted = sum(map(any, chosen)) / len(chosen)
            assert pass_at_k(n, c, k) == pytest.approx(counted, abs=1e-12)


@given(st.integers(1, 5000), st.data())
def test_as_by_exact_binomials(n, data):
    c = data.draw(st.integers(0, n))
    k = data.draw(st.integers(1, n))
    exact = 1 - Fraction(comb(n - c, k), comb(n, k))
    assert pass_at_k(n, c, k) == pytest.approx(float(exact), abs=1e-9)


@pytest.mark.parametrize("wrong", [(3, 4, 1), (3, -1, 1), (3, 1, 0), (3, 1, 4), (0, 0, 1)])
def test_what_is_not_defined(wrong):
    with pytest.raises(ValueError, match="not defined"):
        pass_at_k(*wrong)


def test_the_mean():
    assert mean_pass_at_k([(2, 1), (4, 4)], 1) == 0.75
    with pytest.raises(ValueError, match="no questions"):
        mean_pass_at_k([], 1)
