"""Every ATen overload mkgen lowers, called the way a user's function would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's own name)

from mkgen.task import Task, Tensor
from tests.frontend_cases_norm import norm_cases

aten = torch.ops.aten


@dataclass(frozen=True)
class Case:
    """One call. Sizes are drawn between 1 and `largest` unless `fixed` gives them."""

    name: str
    function: Callable[..., Any]
    inputs: dict[str, Tensor]
    overload: str
    fixed: tuple[tuple[str, int], ...] = ()
    smallest: int = 1
    largest: int = 9

    def sizes(self, rng: np.random.Generator) -> dict[str, int]:
        """Sizes for one run."""
        names = sorted({s for t in self.inputs.values() for s in t.symbols()})
        drawn = {n: int(rng.integers(self.smallest, self.largest + 1)) for n in names}
        return drawn | dict(self.fixed)

    def task(self, sizes: dict[str, int]) -> Task:
        """The case as a task of one workload."""
        name = "case_" + "".join(c if c.isalnum() else "_" for c in self.name.lower())
        return Task(
            name=name, category="math", reference=self.function, inputs=self.inputs,
            bench=sizes, check=[sizes], heldout=[sizes],
        )  # fmt: skip


X = {"x": Tensor("A, B, C")}
POSITIVE = {"x": Tensor("A, B, C", distribution="uniform", low=0, high=1, scale=3.0)}


def _pointwise() -> Iterator[Case]:
    for op in ("relu", "silu", "square", "neg", "abs", "exp", "erf", "tanh", "sigmoid", "floor"):
        function = getattr(aten, op).default
        yield Case(op, lambda x, f=function: f(x), X, f"aten.{op}.default")
    for op in ("log", "sqrt", "rsqrt", "reciprocal"):
        function = getattr(aten, op).default
        yield Case(op, lambda x, f=function: f(x + 0.1), POSITIVE, f"aten.{op}.default")
    pair = {"x": Tensor("A, B, C"), "z": Tensor("B, C")}
    for op in ("add", "sub", "mul", "div"):
        both, one = getattr(aten, op).Tensor, getattr(aten, op).Scalar
        yield Case(f"{op}_tensor", lambda x, z, f=both: f(x, z + 3), pair, f"aten.{op}.Tensor")
        yield Case(f"{op}_scalar", lambda x, f=one: f(x, 1.7), X, f"aten.{op}.Scalar")
    for op in ("maximum", "minimum"):
        function = getattr(aten, op).default
        yield Case(op, lambda x, z, f=function: f(x, z), pair, f"aten.{op}.default")
    column = {"x": Tensor("A, B"), "z": Tensor("A, O")}
    yield Case("add_column", lambda x, z: x + z, column, "aten.add.Tensor", (("O", 1),))
    yield Case("add_alpha", lambda x, z: torch.add(x, z, alpha=2.5), pair, "aten.add.Tensor")
    yield Case("gelu", lambda x: F.gelu(x), X, "aten.gelu.default")
    yield Case("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"), X, "aten.gelu.default")
    yield Case("leaky", lambda x: F.leaky_relu(x, 0.2), X, "aten.leaky_relu.default")
    ints = {"x": Tensor("A, B", dtype="int32", distribution="integers", low=-9, high=9)}
    yield Case("to", lambda x: x.to(torch.float32) * 0.5, ints, "aten.to.dtype")
    copy = aten._to_copy.default
    yield Case("to_copy", lambda x: copy(x, dtype=torch.float32), ints, "aten._to_copy.default")
    for op in ("detach", "alias", "contiguous"):
        function = getattr(aten, op).default
        yield Case(op, lambda x, f=function: f(x) * 2.0, X, f"aten.{op}.default")


def _reductions() -> Iterator[Case]:
    for op in ("sum", "mean"):
        listed = aten.sum.dim_IntList if op == "sum" else aten.mean.dim
        whole = getattr(aten, op).default
        name = "dim_IntList" if op == "sum" else "dim"
        yield Case(f"{op}_last", lambda x, f=listed: f(x, [-1]), X, f"aten.{op}.{name}")
        yield Case(f"{op}_two", lambda x, f=listed: f(x, [0, 2]), X, f"aten.{op}.{name}")
        yield Case(f"{op}_keep", lambda x, f=listed: f(x, [1], True), X, f"aten.{op}.{name}")
        yield Case(f"{op}_all", lambda x, f=whole: f(x), X, f"aten.{op}.default")
    for op in ("amax", "amin"):
        function = getattr(aten, op).default
        yield Case(op, lambda x, f=function: f(x, [1]), X, f"aten.{op}.default")
        yield Case(f"{op}_keep", lambda x, f=function: f(x, [0], True), X, f"aten.{op}.default")
    ties = {"x": Tensor("A, B, C", distribution="uniform", scale=1.0)}
    for op in ("argmax", "argmin"):
        function = getattr(aten, op).default
        overload = f"aten.{op}.default"
        yield Case(op, lambda x, f=function: f(x, -1), ties, overload)
        yield Case(f"{op}_ties", lambda x, f=function: f(torch.floor(x * 3), 1), ties, overload)
        yield Case(f"{op}_keep", lambda x, f=function: f(x, 0, True), ties, overload)
    for dim in (-1, 1):
        yield Case(f"softmax{dim}", lambda x, d=dim: torch.softmax(x, d), X, "aten.softmax.int")
        yield Case(
            f"inner_softmax{dim}",
            lambda x, d=dim: aten._softmax.default(x, d, False),
            X,
            "aten._softmax.default",
        )
        yield Case(
            f"log_softmax{dim}", lambda x, d=dim: torch.log_softmax(x, d), X, "aten.log_softmax.int"
        )
        yield Case(
            f"inner_log_softmax{dim}",
            lambda x, d=dim: aten._log_softmax.default(x, d, False),
            X,
            "aten._log_softmax.default",
        )
    norm = {"x": Tensor("A, B, C"), "weight": Tensor("C"), "bias": Tensor("C")}
    overload = "aten.layer_norm.default"
    yield Case(
        "layer_norm", lambda x, weight, bias: F.layer_norm(x, (x.shape[-1],), weight, bias), norm,
        overload, smallest=4,
    )  # fmt: skip
    yield Case(
        "layer_norm_two", lambda x: F.layer_norm(x, tuple(x.shape[1:])), X, overload, smallest=4
    )


def _contractions() -> Iterator[Case]:
    square = {"a": Tensor("M, K"), "b": Tensor("K, N")}
    batched = {"a": Tensor("B, M, K"), "b": Tensor("B, K, N")}
    spread = {"a": Tensor("G, B, M, K"), "b": Tensor("B, K, N")}
    yield Case("matmul", torch.matmul, square, "aten.matmul.default")
    yield Case("matmul_spread", torch.matmul, spread, "aten.matmul.default")
    yield Case("mm", torch.mm, square, "aten.mm.default")
    yield Case("bmm", torch.bmm, batched, "aten.bmm.default")
    linear = {"x": Tensor("B, T, K"), "weight": Tensor("N, K"), "bias": Tensor("N")}
    yield Case("linear", F.linear, linear, "aten.linear.default")
    yield Case("linear_plain", lambda x, weight: F.linear(x, weight),
               {k: v for k, v in linear.items() if k != "bias"}, "aten.linear.default")  # fmt: skip
    for rank, spatial, window in ((1, "W", "S"), (2, "H, W", "R, S"), (3, "D, H, W", "T, R, S")):
        inputs = {
            "x": Tensor(f"N, C, {spatial}"),
            "weight": Tensor(f"K, C, {window}"),
            "bias": Tensor("K"),
        }
        fixed = (("R", 3), ("S", 2), ("T", 1))
        function = getattr(F, f"conv{rank}d")
        for settings in ({}, {"stride": 2, "padding": 1}, {"padding": 2, "dilation": 2}):
            yield Case(
                f"conv{rank}d_{'_'.join(settings)}",
                lambda x, weight, bias, f=function, s=settings: f(x, weight, bias, **s),
                inputs, f"aten.conv{rank}d.default", fixed, 5, 9,
            )  # fmt: skip


def _windows() -> Iterator[Case]:
    for rank, spatial in ((1, "W"), (2, "H, W"), (3, "D, H, W")):
        inputs = {"x": Tensor(f"N, C, {spatial}")}
        for word in ("max", "avg"):
            function = getattr(F, f"{word}_pool{rank}d")
            for settings in ({"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1}):
                yield Case(
                    f"{word}_pool{rank}d_{len(settings)}",
                    lambda x, f=function, s=settings: f(x, **s),
                    inputs, f"aten.{word}_pool{rank}d.default", (), 5, 9,
                )  # fmt: skip
    ids = {
        "ids": Tensor("B, T", dtype="int64", distribution="integers", high="V"),
        "table": Tensor("V, D"),
    }
    yield Case("embedding", F.embedding, ids, "aten.embedding.default")


from tests.frontend_cases_layout import layout_cases  # noqa: E402  (they need Case)
from tests.frontend_cases_recurrent import recurrent  # noqa: E402
from tests.frontend_cases_spatial import spatial_cases  # noqa: E402

CASES = (
    *layout_cases(), *_pointwise(), *_reductions(), *_contractions(), *_windows(),
    *spatial_cases(), *recurrent(), *norm_cases(Case),
)  # fmt: skip
