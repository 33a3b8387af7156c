"""Size expressions: parsed, printed as Python and C, evaluated; never run as code."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkgen.errors import UserError
from mkgen.expression import (
    Binary,
    Call,
    Expression,
    Int,
    Name,
    binary,
    evaluate,
    names,
    parse,
    substitute,
    to_c,
    to_python,
)

NAMES = ("A", "B", "C")
OPERATORS = ("+", "-", "*", "//", "%", "<", "<=", "==", "!=", ">=", ">", "and", "or")
values = st.fixed_dictionaries({n: st.integers(1, 40) for n in NAMES})


def nodes(operators: tuple[str, ...], calls: bool = True) -> st.SearchStrategy[Expression]:
    """Expressions of any shape over A, B and C."""
    leaves = st.one_of(st.builds(Int, st.integers(0, 40)), st.builds(Name, st.sampled_from(NAMES)))

    def grow(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
        made = [st.builds(Binary, st.sampled_from(operators), inner, inner)]
        if calls:
            made += [
                st.builds(lambda a, b: Call("ceil_div", (a, b)), inner, inner),
                st.builds(lambda a, b: Call("min", (a, b)), inner, inner),
                st.builds(lambda a, b, c: Call("max", (a, b, c)), inner, inner, inner),
                st.builds(lambda a: Call("not", (a,)), inner),
                st.builds(lambda c, a, b: Call("select", (c, a, b)), inner, inner, inner),
            ]
        return st.one_of(made)

    return st.recursive(leaves, grow, max_leaves=12)


def outcome(expression: Expression, sizes: dict[str, int]) -> int | str:
    """The value, or that there is none."""
    try:
        return evaluate(expression, sizes)
    except UserError as error:
        return "division" if "division" in str(error) else "too large"


def python_value(text: str, sizes: dict[str, int]) -> int | str:
    """What Python makes of `text`: a second opinion, from an evaluator that is not ours."""
    scope = {"min": min, "max": max, "__builtins__": {}}
    try:
        return int(eval(text, scope, dict(sizes)))
    except ZeroDivisionError:
        return "division"


@settings(max_examples=200, deadline=None)
@given(nodes(OPERATORS, calls=False), values)
def test_parse_reads_back_what_is_printed(expression: Expression, sizes: dict[str, int]) -> None:
    again = parse(to_python(expression))
    want = outcome(expression, sizes)
    if not isinstance(want, str):  # `0 * x` is read as 0, whatever is wrong with x
        assert outcome(again, sizes) == want


@settings(max_examples=200, deadline=None)
@given(nodes(("+", "-", "*", "//", "%", "<", "<=", "==", "!=", ">=", ">")), values)
def test_python_text_means_what_evaluate_says(
    expression: Expression, sizes: dict[str, int]
) -> None:
    text = to_python(expression)
    want = outcome(expression, sizes)
    if want != "too large":
        assert python_value(text, sizes) == want, text


@settings(max_examples=200, deadline=None)
@given(nodes(("+", "*", "//", "%", "<", "<=", "==", "!=", ">=", ">", "and", "or")), values)
def test_c_text_means_the_same_for_what_is_not_negative(
    expression: Expression, sizes: dict[str, int]
) -> None:
    """C's `/` and `%` are Python's where nothing is negative; the rest differs in spelling only."""
    want = outcome(expression, sizes)
    if isinstance(want, str):
        return
    try:
        got = c_value(to_c(expression), sizes)
    except ZeroDivisionError:
        return  # C evaluates what Python's value never looked at
    assert got == want, to_c(expression)


def c_value(text: str, sizes: dict[str, int]) -> int:
    """Evaluates C's operators on integers that are not negative, by its own grammar."""
    return _C(text, sizes).ternary()


class _C:
    """A recursive-descent reader of C expressions: its own precedences, none of ours."""

    LEVELS = (("||",), ("&&",), ("==", "!="), ("<", "<=", ">", ">="), ("+", "-"), ("*", "/", "%"))

    def __init__(self, text: str, sizes: dict[str, int]) -> None:
        import re

        self.tokens = re.findall(r"\d+|\w+|\|\||&&|[<>=!]=|[-+*/%<>()?:!]", text)
        self.sizes = sizes

    def peek(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def ternary(self) -> int:
        condition = self.level(0)
        if self.peek() != "?":
            return condition
        self.tokens.pop(0)
        yes = self.ternary()
        assert self.tokens.pop(0) == ":"
        no = self.ternary()
        return yes if condition else no

    def level(self, at: int) -> int:
        if at == len(self.LEVELS):
            return self.unary()
        left = self.level(at + 1)
        while self.peek() in self.LEVELS[at]:
            left = self.apply(self.tokens.pop(0), left, self.level(at + 1))
        return left

    def apply(self, sign: str, left: int, right: int) -> int:
        match sign:
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right
            case "/":
                return left // right
            case "%":
                return left % right
            case "||":
                return int(bool(left) or bool(right))
            case "&&":
                return int(bool(left) and bool(right))
            case "==" | "!=":
                return int((left == right) == (sign == "=="))
            case "<" | "<=":
                return int(left < right or (sign == "<=" and left == right))
            case _:
                return int(left > right or (sign == ">=" and left == right))

    def unary(self) -> int:
        token = self.tokens.pop(0)
        if token == "!":
            return int(not self.unary())
        if token == "(":
            value = self.ternary()
            assert self.tokens.pop(0) == ")"
            return value
        return int(token) if token.isdigit() else self.sizes[token]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(OPERATORS[:5]), nodes(OPERATORS[:5]), nodes(OPERATORS[:5]), values)
def test_identities_change_no_value(
    op: str, left: Expression, right: Expression, sizes: dict[str, int]
) -> None:
    want = outcome(Binary(op, left, right), sizes)
    if not isinstance(want, str):  # what is dropped (0 * x) may have been the fault
        assert outcome(binary(op, left, right), sizes) == want


@settings(max_examples=100, deadline=None)
@given(nodes(OPERATORS[:5]), values)
def test_substitution_is_evaluation_under_other_names(
    expression: Expression, sizes: dict[str, int]
) -> None:
    want = outcome(expression, sizes)
    if not isinstance(want, str):
        replaced = substitute(expression, {n: Int(v) for n, v in sizes.items()})
        assert outcome(replaced, {}) == want and not names(replaced)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except UserError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        return
    expression = parse(text)
    assert isinstance(outcome(expression, dict.fromkeys(names(expression), 3)), int | str)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')", "A.b", "A[0]", "lambda: 1", "[1]", "{}", "(1, 2)", "A ** 9", "A << 9",
        "open('x')", "min(*A)", "1 < 2 < 3", "A if", "f'{A}'", "1.5", "'a'", "A := 3", "A / B",
        "ceil_div(1)", "max()", "not " * 100 + "A", "A" * 3000, "await A", "",
    ],
)  # fmt: skip
def test_what_is_not_arithmetic_is_refused_by_name(text: str) -> None:
    with pytest.raises(UserError):
        parse(text)


def test_numbers_cannot_grow_without_bound() -> None:
    with pytest.raises(UserError, match="too large"):
        evaluate(parse(" * ".join(["A"] * 50)), {"A": 10**9})


def test_no_module_of_the_engine_evaluates_text_as_code() -> None:
    from pathlib import Path

    import mkgen

    for path in Path(mkgen.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            assert not (called and node.func.id in ("eval", "exec", "compile")), path  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "python", "c"),
    [
        ("(A + B) * C", "(A + B) * C", "(A + B) * C"),
        ("A + (B + C)", "A + B + C", "A + B + C"),
        ("A - (B - C)", "A - (B - C)", "A - (B - C)"),
        ("A // B % C", "(A // B) % C", "(A / B) % C"),
        ("A * 1 + 0", "A", "A"),
        ("ceil_div(A, B)", "-(-A // B)", "(A + B - 1) / B"),
        ("A < B and B < C", "A < B and B < C", "A < B && B < C"),
        ("A * ceil_div(B, C)", "A * -(-B // C)", "A * ((B + C - 1) / C)"),
        ("A // ceil_div(B, C)", "A // -(-B // C)", "A / ((B + C - 1) / C)"),
        ("(A < B) < C", "(A < B) < C", "(A < B) < C"),
        ("A + (not B)", "A + (not B)", "A + !B"),
    ],
)
def test_printed_text_has_no_needless_parentheses(text: str, python: str, c: str) -> None:
    assert to_python(parse(text)) == python
    assert to_c(parse(text)) == c


def test_only_the_chosen_branch_is_evaluated() -> None:
    assert evaluate(parse("A // B if B else 7"), {"A": 3, "B": 0}) == 7
    assert evaluate(parse("A // B if B else 7"), {"A": 6, "B": 3}) == 2
