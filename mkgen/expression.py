"""Integer expressions over named sizes: parsed, never evaluated as code; printed as C or Python.

One language serves template constraints and grids, task shapes, and index arithmetic of nests:
`+ - * // %`, comparisons, `and or not`, `a if c else b`, and the functions `ceil_div(a, b)`,
`min`, `max`, `is_power_of_two(a)`. Division and remainder floor, as in Python.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce

from mkgen.errors import UserError
from mkgen.reading import python_expression

_MAX_LENGTH = 2000
_MAX_DEPTH = 60
#: Terms of one chain of `and` or `or`, each of which is a level of the expression.
_MAX_CHAIN = 60
_MAX_BITS = 256
_MAX_PRINTED = 1 << 14
_KEPT = 1 << 14


@dataclass(frozen=True)
class Expression:
    """Base of every expression. Build with the operators or `parse`."""

    def __add__(self, other: ExpressionLike) -> Expression:
        return binary("+", self, lift(other))

    def __radd__(self, other: ExpressionLike) -> Expression:
        return binary("+", lift(other), self)

    def __sub__(self, other: ExpressionLike) -> Expression:
        return binary("-", self, lift(other))

    def __rsub__(self, other: ExpressionLike) -> Expression:
        return binary("-", lift(other), self)

    def __mul__(self, other: ExpressionLike) -> Expression:
        return binary("*", self, lift(other))

    def __rmul__(self, other: ExpressionLike) -> Expression:
        return binary("*", lift(other), self)

    def __floordiv__(self, other: ExpressionLike) -> Expression:
        return binary("//", self, lift(other))

    def __mod__(self, other: ExpressionLike) -> Expression:
        return binary("%", self, lift(other))


@dataclass(frozen=True)
class Int(Expression):
    """A literal."""

    value: int


@dataclass(frozen=True)
class Name(Expression):
    """A named size, parameter or loop variable."""

    name: str


@dataclass(frozen=True)
class Binary(Expression):
    """`left op right`; `op` is one of `+ - * // % < <= == != >= > and or`."""

    op: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Call(Expression):
    """`ceil_div`, `min`, `max`, `is_power_of_two`, `not`, `select(condition, a, b)`."""

    function: str
    args: tuple[Expression, ...]


ExpressionLike = Expression | int | str
#: Prints a call given how its arguments are printed; None: as Python does.
PrintCall = Callable[[Call, Callable[[Expression, int], str]], str | None]

_FUNCTIONS: dict[str, tuple[int, Callable[..., int]]] = {
    "ceil_div": (2, lambda a, b: -(-a // b)),
    "min": (-1, lambda *args: min(args)),
    "max": (-1, lambda *args: max(args)),
    "is_power_of_two": (1, lambda a: int(a > 0 and a & (a - 1) == 0)),
    "not": (1, lambda a: int(not a)),
    "select": (3, lambda c, a, b: a if c else b),
}
_OPERATORS: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "<": lambda a, b: int(a < b),
    "<=": lambda a, b: int(a <= b),
    "==": lambda a, b: int(a == b),
    "!=": lambda a, b: int(a != b),
    ">=": lambda a, b: int(a >= b),
    ">": lambda a, b: int(a > b),
    "and": lambda a, b: int(bool(a) and bool(b)),
    "or": lambda a, b: int(bool(a) or bool(b)),
}
_PRECEDENCE = {"or": 1, "and": 2, "<": 4, "<=": 4, "==": 4, "!=": 4, ">=": 4, ">": 4,
               "+": 5, "-": 5, "*": 6, "//": 6, "%": 6}  # fmt: skip
_AST_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "//", ast.Mod: "%", ast.Lt: "<",
    ast.LtE: "<=", ast.Eq: "==", ast.NotEq: "!=", ast.GtE: ">=", ast.Gt: ">",
}  # fmt: skip


def lift(value: ExpressionLike) -> Expression:
    """An int becomes a literal, a string a name."""
    if isinstance(value, Expression):
        return value
    return Int(value) if isinstance(value, int) else Name(value)


def binary(op: str, left: Expression, right: Expression) -> Expression:
    """`left op right` with the identities that keep generated text short applied."""
    if isinstance(left, Int) and isinstance(right, Int) and not (op in "//%" and right.value == 0):
        return Int(_OPERATORS[op](left.value, right.value))
    zero, one = Int(0), Int(1)
    if op == "+" and left == zero:
        return right
    if op in "+-" and right == zero:
        return left
    if op == "*" and zero in (left, right):
        return zero
    if op == "*" and left == one:
        return right
    if op in ("*", "//") and right == one:
        return left
    if op == "%" and right == one:
        return zero
    if op == "+" and isinstance(right, Int) and right.value < 0:
        return Binary("-", left, Int(-right.value))
    return Binary(op, left, right)


def ceil_div(a: ExpressionLike, b: ExpressionLike) -> Expression:
    """The smallest integer not below a / b."""
    return Call("ceil_div", (lift(a), lift(b)))


def product(factors: list[Expression]) -> Expression:
    """The product of `factors`, 1 for none."""
    return reduce(lambda a, b: a * b, factors, lift(1))


@lru_cache(maxsize=_KEPT)
def parse(text: str) -> Expression:
    """The expression written as `text`. UserError names what is not allowed in it."""
    if len(text) > _MAX_LENGTH:
        raise UserError(f"expression of {len(text)} characters; at most {_MAX_LENGTH} are allowed")
    node = python_expression(text, f"cannot read the expression {text[:80]!r}")
    return _convert(node, text, 0)


def _convert(node: ast.expr, text: str, depth: int) -> Expression:
    if depth > _MAX_DEPTH:
        raise UserError(f"expression {text[:80]!r} is nested deeper than {_MAX_DEPTH}")
    deeper = depth + 1
    match node:
        case ast.Constant(value=bool() as value) | ast.Constant(value=int() as value):
            return Int(_bounded(int(value)))
        case ast.Name(id=name):
            return Name(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return binary("-", Int(0), _convert(operand, text, deeper))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return Call("not", (_convert(operand, text, deeper),))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _AST_OPERATORS:
            return binary(
                _AST_OPERATORS[type(op)],
                _convert(left, text, deeper),
                _convert(right, text, deeper),
            )
        case ast.BoolOp(op=op, values=values) if len(values) <= _MAX_CHAIN:
            word = "and" if isinstance(op, ast.And) else "or"
            parts = [_convert(v, text, deeper) for v in values]
            return reduce(lambda a, b: Binary(word, a, b), parts)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _AST_OPERATORS:
            return Binary(
                _AST_OPERATORS[type(op)],
                _convert(left, text, deeper),
                _convert(right, text, deeper),
            )
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return Call("select", tuple(_convert(n, text, deeper) for n in (test, body, orelse)))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            arity = _FUNCTIONS[name][0]
            if len(args) != arity and not (arity < 0 < len(args)):
                raise UserError(f"{name} takes {arity} arguments, not {len(args)}: {text[:80]!r}")
            return Call(name, tuple(_convert(a, text, deeper) for a in args))
    raise UserError(
        f"{ast.unparse(node)[:60]!r} is not allowed in the expression {text[:80]!r}; allowed are "
        "integers, names, + - * // %, comparisons, and/or/not, ceil_div, min, max, is_power_of_two"
    )


def _bounded(value: int) -> int:
    if value.bit_length() > _MAX_BITS:
        raise UserError(
            f"an expression's value is too large: {value.bit_length()} bits, at most {_MAX_BITS}"
        )
    return value


def evaluate(expression: ExpressionLike, values: Mapping[str, int | bool | str]) -> int:
    """The value of `expression`. UserError for an unknown name, a division by zero, or a number
    too large for anything that could be meant."""
    node = lift(expression)
    if isinstance(node, Int):
        return node.value
    if isinstance(node, Name):
        value = values.get(node.name)
        if value is None or isinstance(value, str):
            raise UserError(f"unknown name {node.name!r} in an expression")
        return _bounded(int(value))
    if isinstance(node, Binary):
        left = evaluate(node.left, values)
        if node.op in ("and", "or"):
            short = (node.op == "and") != bool(left)
            return int(bool(left)) if short else int(bool(evaluate(node.right, values)))
        right = evaluate(node.right, values)
        if node.op in ("//", "%") and right == 0:
            raise UserError(f"division by zero in {to_python(node)!r}")
        return _bounded(_OPERATORS[node.op](left, right))
    if isinstance(node, Call):
        if node.function == "select":  # only the branch that is chosen, as in Python
            condition, yes, no = node.args
            return evaluate(yes if evaluate(condition, values) else no, values)
        args = [evaluate(a, values) for a in node.args]
        if node.function == "ceil_div" and args[1] == 0:
            raise UserError(f"division by zero in {to_python(node)!r}")
        return _FUNCTIONS[node.function][1](*args)
    raise TypeError(f"{type(node).__name__} has no integer value here")


def walk(expression: Expression) -> Iterator[Expression]:
    """`expression` and everything below it."""
    yield expression
    if isinstance(expression, Binary):
        yield from walk(expression.left)
        yield from walk(expression.right)
    elif isinstance(expression, Call):
        for arg in expression.args:
            yield from walk(arg)


def names(expression: Expression) -> frozenset[str]:
    """Every name in `expression`."""
    return frozenset(n.name for n in walk(expression) if isinstance(n, Name))


def substitute(expression: Expression, replacements: Mapping[str, Expression]) -> Expression:
    """`expression` with names replaced."""
    if isinstance(expression, Name):
        return replacements.get(expression.name, expression)
    if isinstance(expression, Binary):
        left = substitute(expression.left, replacements)
        return binary(expression.op, left, substitute(expression.right, replacements))
    if isinstance(expression, Call):
        args = tuple(substitute(a, replacements) for a in expression.args)
        single = expression.function == "ceil_div" and args[0] == Int(1)
        return Int(1) if single else Call(expression.function, args)
    return expression


def to_python(expression: Expression, call: PrintCall | None = None) -> str:
    """The expression as Python (and Triton) source; `call` may spell some calls its own way."""

    def spell(node: Call, inner: Callable[[Expression, int], str]) -> str:
        own = call(node, inner) if call else None
        return own if own is not None else _python_call(node, inner)

    return _print(expression, 0, {"//": "//", "and": "and", "or": "or"}, spell)


def to_c(expression: Expression) -> str:
    """The expression as C source; exact for operands that are not negative."""
    return _print(expression, 0, {"//": "/", "and": "&&", "or": "||"}, _c_call)


Spelling = Mapping[str, str]
CallPrinter = Callable[[Call, Callable[[Expression, int], str]], str]


def _print(node: Expression, outer: int, spelling: Spelling, call: CallPrinter) -> str:
    def inner(child: Expression, precedence: int) -> str:
        return _print(child, precedence, spelling, call)

    if isinstance(node, Int):
        return str(node.value) if node.value >= 0 or outer == 0 else f"({node.value})"
    if isinstance(node, Name):
        return node.name
    if isinstance(node, Call):
        text = _printable(call(node, inner))
        # C's ceil_div is a division, the one call that is printed as an operator
        bare = spelling["//"] == "/" and node.function == "ceil_div"
        return f"({text})" if bare and outer > 6 else text
    if isinstance(node, Binary):
        own = _PRECEDENCE[node.op]
        # a / b % c reads like a puzzle: nested division, remainder and product get parentheses
        inside = node.left.op if isinstance(node.left, Binary) else ""
        mixed = own == 6 and inside != "" and (node.op, inside) != ("*", "*")
        chained = own == 4  # a < b < c means something else in Python
        tight = 7 if mixed and _PRECEDENCE[inside] == 6 else own + chained
        left = inner(node.left, tight)
        if node.op in "+*" and isinstance(node.right, Binary) and node.right.op == node.op:
            right = inner(node.right, own)  # associative: no parentheses needed
        else:
            right = inner(node.right, own + 1)
        text = f"{left} {spelling.get(node.op, node.op)} {right}"
        return f"({text})" if own < outer else text
    raise TypeError(f"cannot print {type(node).__name__}")


def _printable(text: str) -> str:
    if len(text) > _MAX_PRINTED:  # C has operands of min, max and ceil_div twice: 2^depth of them
        raise UserError(f"an expression of more than {_MAX_PRINTED} characters, once it is printed")
    return text


def _python_call(node: Call, inner: Callable[[Expression, int], str]) -> str:
    args = node.args
    if node.function == "ceil_div":
        return f"-(-{inner(args[0], 7)} // {inner(args[1], 7)})"
    if node.function == "select":
        return f"({inner(args[1], 0)} if {inner(args[0], 0)} else {inner(args[2], 0)})"
    if node.function == "not":
        return f"(not {inner(args[0], 3)})"
    return f"{node.function}({', '.join(inner(a, 0) for a in args)})"


def _c_call(node: Call, inner: Callable[[Expression, int], str]) -> str:
    args = node.args
    if node.function == "ceil_div":
        return f"({inner(args[0], 5)} + {inner(args[1], 6)} - 1) / {inner(args[1], 7)}"
    if node.function in ("min", "max"):
        sign = "<" if node.function == "min" else ">"
        texts = (inner(a, 5) for a in args)
        return reduce(lambda a, b: _printable(f"({a} {sign} {b} ? {a} : {b})"), texts)
    if node.function == "select":
        return f"({inner(args[0], 3)} ? {inner(args[1], 3)} : {inner(args[2], 3)})"
    if node.function == "not":
        return f"!{inner(args[0], 7)}"
    raise UserError(f"{node.function} cannot be written in C; write it with other operators")
