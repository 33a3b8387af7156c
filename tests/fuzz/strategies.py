"""Inputs for hypothesis, made by structure: grammars, documents, nests, and mutated real inputs."""

from __future__ import annotations

import json
import random

from hypothesis import strategies as st

from .mutate import NUMBERS, mutate
from .surface import Form, Surface

Bytes = st.SearchStrategy[bytes]

_NAMES = st.sampled_from(["N", "ROWS", "THREADS", "K", "nosuch", "ﬁ", "__class__", "min", "True"])
_INTEGERS = st.one_of(
    st.integers(-3, 300).map(str),
    st.sampled_from([n.decode() for n in NUMBERS]),
    st.integers(0, 5000).map(
        lambda digits: str(10**digits) if digits < 4000 else "1" + "0" * digits
    ),
)
_OPERATORS = st.sampled_from(
    ["+", "-", "*", "//", "%", "<", "==", ">=", " and ", " or ", "**", "<<", "/", ",", " in ", ":="]
)
_NESTS = st.sampled_from(["({})", "[{}]", "-{}", "not {}", "min({}, 1)", "{{'a': {}}}", "1+{}",
                          "{}+1", "1 if {} else 2", "lambda: {}", "f({})", "{} and 1", "~{}",
                          "x[{}]"])  # fmt: skip


def _chain(part: str, operator: str, count: int) -> str:
    return operator.join([part] * min(count, 1 + 10_000 // (len(part) + 1)))


def _expressions() -> st.SearchStrategy[str]:
    leaves = st.one_of(_NAMES, _INTEGERS, st.text(max_size=4))

    def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.builds(lambda a, op, b: f"({a}{op}{b})", inner, _OPERATORS, inner),
            st.builds(lambda a, b: f"ceil_div({a}, {b})", inner, inner),
            st.builds(lambda nest, a: nest.format(a), _NESTS, inner),
            st.builds(_chain, inner, _OPERATORS, st.sampled_from([2, 10, 100, 400])),
        )

    return st.recursive(leaves, grow, max_leaves=8)


@st.composite
def _deep(draw: st.DrawFn) -> str:
    text = draw(_INTEGERS)
    nest = draw(_NESTS)
    for _ in range(draw(st.sampled_from([1, 50, 70, 120, 250, 700]))):
        text = nest.format(text)
        if len(text) > 20_000:
            break
    return text


_VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just(10**400)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=10,
)


@st.composite
def _toml(draw: st.DrawFn, surface: Surface) -> str:
    """Lines of keys the parser knows, with values it does not expect; twice, out of place."""
    words = [t.decode(errors="replace") for t in surface.tokens] or ["a"]
    keys = st.one_of(st.sampled_from(words), st.text(max_size=3), st.just(".".join("a" * 300)))
    value = st.one_of(
        _INTEGERS,
        _VALUES.map(lambda v: json.dumps(v).replace("null", "''").replace('":', '"=')),
        _expressions().map(json.dumps),
        st.sampled_from(["'''", "[" * 900, "{a=" * 300, "1979-05-27T07:32:00Z", '"\\u0000"']),
    )
    lines = draw(
        st.lists(
            st.one_of(
                st.builds(lambda k, v: f"{k} = {v}", keys, value),
                st.builds(lambda k: f"[{k}]", keys),
                st.builds(lambda k: f"[[{k}]]", keys),
            ),
            max_size=8,
        )
    )
    real = draw(st.sampled_from(surface.seeds())).decode(errors="replace").split("\n")
    at = draw(st.integers(0, len(real)))
    end = draw(st.sampled_from(["\n", "\r\n", "\n\0"]))
    return end.join([*real[:at], *lines, *real[at:]])


def _of_form(surface: Surface) -> Bytes:
    form: Form = surface.form
    if form in ("json", "jsonl"):
        return _VALUES.map(lambda v: json.dumps(v).encode(errors="replace") + b"\n")
    if form in ("toml", "native"):
        return _toml(surface).map(_encoded)
    return st.one_of(_expressions(), _deep()).map(_encoded)


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogateescape" if text.isprintable() else "replace")


@st.composite
def _mutated(draw: st.DrawFn, surface: Surface) -> bytes:
    seeds = surface.seeds()
    data = draw(st.sampled_from(seeds))
    for number in draw(st.lists(st.integers(0, 2**32), min_size=1, max_size=4)):
        chance = random.Random(number)
        data = mutate(chance, data, chance.choice(seeds), surface.form, surface.tokens)
    return data[: 4 * surface.longest]


def inputs(surface: Surface) -> Bytes:
    """Whatever might be given to `surface`, most of it nearly right."""
    return st.one_of(
        _mutated(surface),
        _mutated(surface),
        _of_form(surface),
        _deep().map(_encoded),
        st.text(max_size=60).map(_encoded),
        st.binary(max_size=200),
    )
