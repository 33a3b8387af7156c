"""Layouts, indices, matrix products and attention, called the way a user's function would."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's own name)

from mkgen.task import Tensor
from tests.frontend_cases import Case

aten = torch.ops.aten

X = {"x": Tensor("A, B, C")}
MATRIX = {"x": Tensor("A, B")}


def ids(shape: str, high: str, low: int | str = 0) -> Tensor:
    """Positions below `high`."""
    return Tensor(shape, dtype="int64", distribution="integers", low=low, high=high)


def mask(shape: str) -> Tensor:
    """True or false."""
    return Tensor(shape, dtype="bool", distribution="integers", low=0, high=2)


def layout_cases() -> tuple[Case, ...]:
    """Every case of this module."""
    return (
        *_reshapes(), *_orders(), *_parts(), *_wholes(), *_written(), *_known(), *_gathers(),
        *_scatters(), *_products(), *_attention(),
    )  # fmt: skip


def _case(name: str, overload: str, function: Any, inputs: dict[str, Tensor], **more: Any) -> Case:
    return Case(f"{name}_{overload}", function, inputs, f"aten.{overload}", **more)


def _reshapes() -> Iterator[Case]:
    yield _case("merge", "view.default", lambda x: x.view(x.shape[0], -1) + 1, X)
    yield _case("merge_named", "view.default",
                lambda x: x.view(x.shape[0] * x.shape[1], x.shape[2]) * 2, X)  # fmt: skip
    heads = {"x": Tensor("A, B, 4 * C")}
    yield _case(
        "heads",
        "view.default",
        lambda x: x.view(x.shape[0], x.shape[1], 4, -1).transpose(1, 2) * 2,
        heads,
    )
    yield _case(
        "regroup",
        "reshape.default",
        lambda x: x.transpose(1, 2).reshape(x.shape[0], -1, 2) * 2,
        heads,
    )
    yield _case("inner", "_unsafe_view.default",
                lambda x: aten._unsafe_view.default(x, [x.shape[0], x.shape[1] * x.shape[2]]) + 1,
                X)  # fmt: skip
    yield _case("all", "flatten.using_ints", lambda x: x.flatten() + 1, X)
    yield _case("last", "flatten.using_ints", lambda x: x.flatten(1) + 1, X)
    yield _case("split", "unflatten.int", lambda x: x.unflatten(2, (-1, 4)).sum(-1), heads)
    yield _case("between", "unsqueeze.default", lambda x: x.unsqueeze(1) * x.unsqueeze(2), MATRIX)
    one = {"x": Tensor("A, 1, B, 1")}
    yield _case("all", "squeeze.default", lambda x: x.squeeze() + 1, one, smallest=2)
    yield _case("one", "squeeze.dim", lambda x: x.squeeze(1) + 1, one)
    yield _case("none", "squeeze.dim", lambda x: x.squeeze(0) + 1, one, smallest=2)
    yield _case("two", "squeeze.dims", lambda x: x.squeeze((1, -1)) + 1, one)
    yield _case("copy", "clone.default", lambda x: x.clone() * 2, X)
    yield _case("listed", "lift_fresh_copy.default",
                lambda x: x[:, [1, 0]] * 2, {"x": Tensor("A, B")}, smallest=2)  # fmt: skip
    yield _case("in_place", "detach_.default", lambda x: aten.detach_.default(x * 2) + 1, X)


def _orders() -> Iterator[Case]:
    yield _case("swap", "transpose.int", lambda x: x.transpose(0, 2) + 1, X)
    yield _case("turn", "permute.default", lambda x: x.permute(2, 0, 1) * 2, X)
    yield _case("summed", "permute.default", lambda x: x.permute(2, 0, 1).sum(-1), X)
    yield _case("matrix", "t.default", lambda x: x.t() + 1, MATRIX)
    yield _case("all", "numpy_T.default", lambda x: aten.numpy_T.default(x) + 1, X)
    yield _case("last", "mT.default", lambda x: x.mT + 1, X)
    yield _case("one", "movedim.int", lambda x: torch.movedim(x, 0, -1) + 1, X)
    yield _case("two", "movedim.intlist", lambda x: torch.movedim(x, (0, 1), (2, 0)) + 1, X)
    yield _case("two", "flip.default", lambda x: x.flip((0, -1)) * 2, X)
    yield _case("two", "roll.default", lambda x: torch.roll(x, (2, -13), (1, 2)) * 2, X)
    yield _case("all", "roll.default", lambda x: torch.roll(x, 5) * 2, X)
    yield _case("by_size", "roll.default",
                lambda x: torch.roll(x, x.shape[1] // 2, 1) * 2, X)  # fmt: skip
    pixels = {"x": Tensor("N, 4 * C, H, W")}
    yield _case("twice", "pixel_shuffle.default", lambda x: F.pixel_shuffle(x, 2) + 1, pixels)
    whole = {"x": Tensor("N, C, 3 * H, 3 * W")}
    yield _case("thrice", "pixel_unshuffle.default", lambda x: F.pixel_unshuffle(x, 3) + 1, whole,
                largest=5)  # fmt: skip


def _parts() -> Iterator[Case]:
    for name, function in {
        "open": lambda x: x[:, 1:] * 2,
        "fixed": lambda x: x[:, 1:3] * 2,
        "beyond": lambda x: aten.slice.Tensor(x, 1, 0, 7) * 2,
        "stepped": lambda x: x[:, ::2] + x[:, ::2],
        "shifted": lambda x: x[:, 1::3] * 2,
        "from_end": lambda x: x[..., -3:-1] * 2,
        "half": lambda x: x[:, : x.shape[1] // 2] * 2,
        "differences": lambda x: x[:, 1:] - x[:, :-1],
    }.items():
        yield _case(name, "slice.Tensor", function, X, smallest=4)
    yield _case(
        "middle",
        "narrow.default",
        lambda x: aten.narrow.default(x, 1, 1, x.shape[1] - 2) * 2,
        X,
        smallest=4,
    )
    yield _case("third", "select.int", lambda x: x[:, 2] * 2, X, smallest=3)
    yield _case("last", "select.int", lambda x: x[..., -1] * 2, X)
    even = {"x": Tensor("A, 3 * B")}
    yield _case("even", "chunk.default", lambda x: _gated(*x.chunk(3, 1)), even)
    yield _case("uneven", "chunk.default", lambda x: x.chunk(2, 0)[1] * 2, X, smallest=3)
    yield _case("sized", "split.Tensor", lambda x: _gated(*x.split(x.shape[1] // 3, 1)), even)
    yield _case("rest", "split.Tensor", lambda x: x.split(5, 1)[1] * 2, X, fixed=(("B", 8),))
    listed = {"x": Tensor("A, B + 3")}
    yield _case("listed", "split_with_sizes.default",
                lambda x: x.split([3, x.shape[1] - 3], 1)[1] * 2, listed)  # fmt: skip
    yield _case("sizes", "split.sizes", lambda x: aten.split.sizes(x, [2, 1], 1)[1] * 2,
                {"x": Tensor("A, 3")})  # fmt: skip
    yield _case("three", "unbind.int", lambda x: _gated(*x.unbind(1)), {"x": Tensor("A, 3, B")})
    yield _case("windows", "unfold.default", lambda x: x.unfold(1, 3, 2).sum(-1), X, smallest=3)
    square = {"x": Tensor("N, A, A")}
    yield _case("batch", "diagonal.default", lambda x: x.diagonal(0, 1, 2) * 2, square)
    yield _case("below", "diagonal.default", lambda x: x.diagonal(-1) * 2, X, smallest=3)
    yield _case("vector", "diag.default", lambda x: torch.diag(x) * 2, {"x": Tensor("A")})
    yield _case("matrix", "diag.default", lambda x: torch.diag(x, 1) * 2, MATRIX, smallest=3)
    for word in ("tril", "triu"):
        function = getattr(torch, word)
        yield _case("plain", f"{word}.default", lambda x, f=function: f(x) * 2, X)
        yield _case("below", f"{word}.default", lambda x, f=function: f(x, -2) * 2, X)
        yield _case("above", f"{word}.default", lambda x, f=function: f(x, 1) * 2, X)


def _gated(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    return a * torch.sigmoid(b) + c


def _wholes() -> Iterator[Case]:
    column = {"x": Tensor("A, 1"), "z": Tensor("A, B")}
    yield _case("column", "expand.default", lambda x, z: x.expand(-1, z.shape[1]) * 2, column)
    yield _case("leading", "expand.default", lambda x: x.expand(5, *x.shape) * 2, MATRIX)
    yield _case("row", "broadcast_to.default",
                lambda x, z: aten.broadcast_to.default(x, list(z.shape)) + 1, column)  # fmt: skip
    yield _case("row", "expand_as.default", lambda x, z: x.expand_as(z) - z, column)
    yield _case("both", "broadcast_tensors.default",
                lambda x, z: torch.sub(*torch.broadcast_tensors(x, z[0])),
                {"x": Tensor("A, 1"), "z": Tensor("A, B")})  # fmt: skip
    yield _case("twice", "repeat.default", lambda x: x.repeat(2, 1, 3, 1) + 1, X)
    yield _case("twice", "tile.default", lambda x: torch.tile(x, (2, 3)) + 1, X)
    yield _case("each", "repeat_interleave.self_int",
                lambda x: x.repeat_interleave(3, dim=1) + 1, X)  # fmt: skip
    yield _case("all", "repeat_interleave.self_int", lambda x: x.repeat_interleave(2) + 1, X)
    three = {"x": Tensor("A, B"), "y": Tensor("A, 2 * C"), "z": Tensor("A, B")}
    yield _case("three", "cat.default", lambda x, y, z: torch.cat([x, y, z * 2], 1) + 1, three)
    yield _case("first", "cat.default", lambda x, y: torch.cat([x * 2, y], 0),
                {"x": Tensor("A, B"), "y": Tensor("C, B")})  # fmt: skip
    yield _case("same", "cat.default", lambda x: torch.cat([x, x], -1), MATRIX)
    pair = {"x": Tensor("A, B"), "y": Tensor("A, B")}
    yield _case("between", "stack.default", lambda x, y: torch.stack([x, y, x + y], 1), pair)
    yield _case("sides", "pad.default", lambda x: F.pad(x, (2, 1, 0, 3), value=1.5) * 2, X)
    yield _case("zeros", "pad.default", lambda x: F.pad(x, (1, 0)) * 2, X)
    yield _case("cut", "constant_pad_nd.default",
                lambda x: aten.constant_pad_nd.default(x, [-1, 2], 0.5) * 2, X,
                smallest=3)  # fmt: skip


def _column_set(x: torch.Tensor) -> torch.Tensor:
    made = torch.zeros(x.shape[0], 5)
    made[:, 2] = x[:, 0]
    made[:, 3:] += x[:, :2]
    return made


def _written() -> Iterator[Case]:
    yield _case("column", "copy_.default", _column_set, MATRIX, smallest=3)
    yield _case("fresh", "copy_.default", lambda x: torch.zeros_like(x).copy_(x[:1]) + 1, X)
    yield _case("plain", "copy.default", lambda x: aten.copy.default(x, x[:1]) + 1, X)
    yield _case(
        "stepped", "slice_scatter.default",
        lambda x, y: torch.slice_scatter(x, y[:, : (x.shape[1] - 1 + 1) // 2], 1, 1, None, 2),
        {"x": Tensor("A, 2 * B"), "y": Tensor("A, 2 * B")},
    )  # fmt: skip
    yield _case("one", "select_scatter.default",
                lambda x: torch.select_scatter(x, x[:, 0] * 2, 1, -1), MATRIX)  # fmt: skip


def _known() -> Iterator[Case]:
    for word in ("zeros", "ones"):
        function = getattr(torch, word)
        yield _case("column", f"{word}.default",
                    lambda x, f=function: f(x.shape[0], 1) - x, MATRIX)  # fmt: skip
        like = getattr(torch, f"{word}_like")
        yield _case("like", f"{word}_like.default", lambda x, f=like: f(x) - x, X)
        new = getattr(aten, f"new_{word}").default
        yield _case("new", f"new_{word}.default",
                    lambda x, f=new: f(x, [x.shape[1]]) - x, MATRIX)  # fmt: skip
    yield _case("row", "full.default", lambda x: torch.full((x.shape[1],), 2.5) - x, MATRIX)
    yield _case("ints", "full.default", lambda x: torch.full((x.shape[0],), 7), MATRIX)
    yield _case("like", "full_like.default", lambda x: torch.full_like(x, 2.5) - x, X)
    yield _case("new", "new_full.default", lambda x: x.new_full((2, 1), 2.5) - x[:1], MATRIX)
    yield _case("filled", "empty_like.default",
                lambda x: aten.empty_like.default(x).copy_(x) * 2, X)  # fmt: skip
    yield _case("filled", "empty.memory_format",
                lambda x: torch.empty(x.shape).copy_(x) * 2, X)  # fmt: skip
    yield _case("zero", "scalar_tensor.default",
                lambda x: aten.scalar_tensor.default(2.5, dtype=x.dtype) * x, X)  # fmt: skip
    yield _case("row", "arange.default", lambda x: torch.arange(x.shape[1]) + x, MATRIX)
    yield _case("float", "arange.default",
                lambda x: torch.arange(x.shape[1], dtype=torch.float32) * x, MATRIX)  # fmt: skip
    yield _case("from", "arange.start", lambda x: torch.arange(2, x.shape[1] + 2) + x, MATRIX)
    yield _case("stepped", "arange.start_step",
                lambda x: torch.arange(1, x.shape[1] + 1, 2) + x[:, ::2], MATRIX)  # fmt: skip
    yield _case("fraction", "arange.start_step",
                lambda x: torch.arange(0.5, 2.9, 0.5) + x[:, :1], MATRIX,
        smallest=2)  # fmt: skip
    yield _case("square", "eye.default", lambda x: torch.eye(x.shape[1]) + x[0], MATRIX)
    yield _case("wide", "eye.m", lambda x: torch.eye(x.shape[0], x.shape[1]) + x, MATRIX)


def _gathers() -> Iterator[Case]:
    table = {"x": Tensor("A, B"), "i": ids("A, C", "B")}
    yield _case("columns", "gather.default", lambda x, i: torch.gather(x, 1, i) * 2, table)
    fewer = {"x": Tensor("A + C, B"), "i": ids("A, B", "A + C")}
    yield _case("rows", "gather.default", lambda x, i: torch.gather(x * 2, 0, i), fewer)
    yield _case("one", "take_along_dim.default",
                lambda x, i: torch.take_along_dim(x, i, 1) * 2, table)  # fmt: skip
    shared = {"x": Tensor("A, B"), "i": ids("1, C", "B")}
    yield _case("shared", "take_along_dim.default",
                lambda x, i: torch.take_along_dim(x, i, 1) * 2, shared)  # fmt: skip
    yield _case("flat", "take_along_dim.default",
                lambda x, i: torch.take_along_dim(x, i) * 2, table)  # fmt: skip
    vector = {"x": Tensor("A, B, C"), "i": ids("D", "B")}
    yield _case("middle", "index_select.default",
                lambda x, i: torch.index_select(x, 1, i) * 2, vector)  # fmt: skip
    signed = {"x": Tensor("A, B"), "i": ids("C, D", "A * B", low="0 - A * B")}
    yield _case("signed", "take.default", lambda x, i: torch.take(x, i) * 2, signed)
    pick = {"x": Tensor("A, B, C"), "i": ids("D, 1", "B", low="0 - B"), "j": ids("E", "C")}
    yield _case("rows", "index.Tensor", lambda x, i, j: x[:, i[:, 0]] * 2 + j[0], pick)
    yield _case("neighbours", "index.Tensor", lambda x, i, j: x[:, i, j] * 2, pick)
    apart = {"x": Tensor("A, B, C"), "i": ids("D, 1", "A"), "j": ids("E", "C", low="0 - C")}
    yield _case("apart", "index.Tensor", lambda x, i, j: x[i, :, j] * 2, apart)
    hot = {"i": ids("A, B", "7")}
    yield _case("seven", "one_hot.default", lambda i: F.one_hot(i, 7), hot)
    chosen = {"m": mask("A, 1"), "x": Tensor("A, B"), "z": Tensor("B")}
    yield _case("both", "where.self", lambda m, x, z: torch.where(m, x, z), chosen)
    yield _case("number", "where.ScalarOther",
                lambda m, x, z: aten.where.ScalarOther(m, x, 0.5) + z, chosen)  # fmt: skip
    yield _case("number", "where.ScalarSelf",
                lambda m, x, z: aten.where.ScalarSelf(m, 0.5, x) + z, chosen)  # fmt: skip
    yield _case("numbers", "where.Scalar",
                lambda m, x, z: aten.where.Scalar(m, 0.5, 2.0) + x + z, chosen)  # fmt: skip
    filled = {"x": Tensor("A, B, C"), "m": mask("B, C")}
    yield _case("number", "masked_fill.Scalar", lambda x, m: x.masked_fill(m, -1e9), filled)
    yield _case("tensor", "masked_fill.Tensor",
                lambda x, m: x.masked_fill(m, x.new_full((), 2.5)), filled)  # fmt: skip
    yield _case("number", "masked_fill_.Scalar",
                lambda x, m: (x * 2).masked_fill_(m, 0.5), filled)  # fmt: skip
    yield _case("tensor", "masked_fill_.Tensor",
                lambda x, m: (x * 2).masked_fill_(m, x.new_full((), 2.5)), filled)  # fmt: skip


def _scatters() -> Iterator[Case]:
    along = {"x": Tensor("A, B"), "i": ids("A, C", "B"), "s": Tensor("A, C")}
    fewer = {"x": Tensor("A + 2, B"), "i": ids("A, C", "B"), "s": Tensor("A, C")}
    for op in ("scatter_add", "scatter_add_"):
        function = getattr(aten, op).default
        yield _case("rows", f"{op}.default",
                    lambda x, i, s, f=function: f(x + 1, 1, i, s), along)  # fmt: skip
    yield _case("fewer", "scatter_add.default",
                lambda x, i, s: torch.scatter_add(x, 1, i, s), fewer)  # fmt: skip
    for op in ("scatter", "scatter_"):
        source, number = getattr(aten, op).src, getattr(aten, op).value
        yield _case("last", f"{op}.src",
                    lambda x, i, s, f=source: f(x + 1, 1, i, s), along)  # fmt: skip
        yield _case("number", f"{op}.value",
                    lambda x, i, s, f=number: f(x + 1, 1, i, 2.5) + s.sum(), along)  # fmt: skip
    yield _case("fewer", "scatter.src", lambda x, i, s: torch.scatter(x, 1, i, s), fewer)
    for op in ("scatter_reduce", "scatter_reduce_"):
        function = getattr(aten, op).two
        for word in ("sum", "prod", "amax", "amin", "mean"):
            for own in (True, False):
                yield _case(
                    f"{word}_{own}", f"{op}.two",
                    lambda x, i, s, f=function, w=word, o=own: f(x + 1, 1, i, s, w, include_self=o),
                    along,
                )  # fmt: skip
    slices = {"x": Tensor("A, B, C"), "i": ids("D", "B"), "s": Tensor("A, D, C")}
    for op in ("index_add", "index_add_"):
        function = getattr(aten, op).default
        yield _case("middle", f"{op}.default",
                    lambda x, i, s, f=function: f(x + 1, 1, i, s), slices)  # fmt: skip
    yield _case("scaled", "index_add.default",
                lambda x, i, s: torch.index_add(x, 1, i, s, alpha=2.5), slices)  # fmt: skip
    for op in ("index_copy", "index_copy_"):
        function = getattr(aten, op).default
        yield _case("middle", f"{op}.default",
                    lambda x, i, s, f=function: f(x + 1, 1, i, s), slices)  # fmt: skip
    for op in ("index_fill", "index_fill_"):
        for kind in ("int_Scalar", "int_Tensor"):
            function = getattr(getattr(aten, op), kind)
            yield _case(
                "middle", f"{op}.{kind}",
                lambda x, i, s, f=function, k=kind: f(
                    x + 1, 1, i, 2.5 if k == "int_Scalar" else s.new_full((), 2.5)
                ),
                slices,
            )  # fmt: skip
    put = {
        "x": Tensor("A, B, C"), "i": ids("D", "A", low="0 - A"), "j": ids("D", "C"),
        "s": Tensor("D, B"),
    }  # fmt: skip
    for op in ("index_put", "index_put_"):
        function = getattr(aten, op).default
        for own in (True, False):
            yield _case(
                f"apart_{own}", f"{op}.default",
                lambda x, i, j, s, f=function, o=own: f(x + 1, [i, None, j], s, o), put,
            )  # fmt: skip
    pairs = {
        "x": Tensor("A, B"), "i": ids("D, 1", "A"), "j": ids("E", "B"), "s": Tensor("D, E"),
    }  # fmt: skip
    for own in (True, False):
        yield _case(
            f"grid_{own}", "index_put.default",
            lambda x, i, j, s, o=own: aten.index_put.default(x, [i, j], s, o), pairs,
        )  # fmt: skip
    one = {"x": Tensor("A, B"), "m": mask("A, B")}
    yield _case("masked", "index_put.default",
                lambda x, m: aten.index_put.default(x, [m], x.new_full((), 2.5)), one)  # fmt: skip


def _products() -> Iterator[Case]:
    square = {"a": Tensor("M, K"), "b": Tensor("K, N")}
    for name, left, right in (
        ("vectors", "K", "K"), ("row", "K", "K, N"), ("column", "M, K", "K"),
        ("batch_column", "B, M, K", "K"), ("batch_row", "K", "B, K, N"),
        ("one_column", "M, K", "K, 1"), ("one_row", "1, K", "K, N"),
        ("spread", "B, 1, M, K", "C, K, N"),
    ):  # fmt: skip
        inputs = {"a": Tensor(left), "b": Tensor(right)}
        yield _case(name, "matmul.default", torch.matmul, inputs)
    yield _case("transposed", "matmul.default", lambda a, b: a.T @ b.T,
                {"a": Tensor("K, M"), "b": Tensor("N, K")})  # fmt: skip
    yield _case("own", "matmul.default", lambda a: a @ a.T, {"a": Tensor("M, K")})
    yield _case("triangle", "matmul.default", lambda a, b: torch.tril(a) @ b, square)
    yield _case("plain", "mv.default", torch.mv, {"a": Tensor("M, K"), "b": Tensor("K")})
    vectors = {"a": Tensor("K"), "b": Tensor("K")}
    for op in ("dot", "vdot", "inner"):
        yield _case("plain", f"{op}.default", getattr(torch, op), vectors)
    yield _case("matrices", "inner.default", torch.inner,
                {"a": Tensor("M, K"), "b": Tensor("N, K")})  # fmt: skip
    for op in ("outer", "ger"):
        yield _case("plain", f"{op}.default", getattr(torch, op),
                    {"a": Tensor("M"), "b": Tensor("N")})  # fmt: skip
    added = {"c": Tensor("N"), **square}
    yield _case("plain", "addmm.default", torch.addmm, added)
    yield _case("scaled", "addmm.default",
                lambda c, a, b: torch.addmm(c, a, b, beta=0.5, alpha=2), added)  # fmt: skip
    yield _case("plain", "addmv.default", torch.addmv,
                {"c": Tensor("M"), "a": Tensor("M, K"), "b": Tensor("K")})  # fmt: skip
    batched = {"c": Tensor("B, M, N"), "a": Tensor("B, M, K"), "b": Tensor("B, K, N")}
    yield _case("plain", "baddbmm.default", torch.baddbmm, batched)
    yield _case("none", "baddbmm.default",
                lambda c, a, b: torch.baddbmm(c, a, b, beta=0, alpha=0.5), batched)  # fmt: skip
    for equation, left, right in (
        ("bhqd,bhkd->bhqk", "B, H, Q, D", "B, H, K, D"), ("bijl,lk->bijk", "B, I, J, L", "L, K"),
        ("bi,bi->b", "B, I", "B, I"), ("bi,bj->bij", "B, I", "B, J"), ("ij,jk", "I, J", "J, K"),
        ("...ij,jk->...ik", "B, C, I, J", "J, K"), ("ijk,kl->il", "I, J, K", "K, L"),
    ):  # fmt: skip
        inputs = {"a": Tensor(left), "b": Tensor(right)}
        yield _case(
            equation,
            "einsum.default",
            lambda a, b, e=equation: torch.einsum(e, a, b),
            inputs,
            largest=5,
        )
    yield _case("turned", "einsum.default", lambda x: torch.einsum("abc->ca", x), X)
    yield _case("trace", "einsum.default", lambda x: torch.einsum("aab->b", x),
                {"x": Tensor("A, A, B")})  # fmt: skip


def _attention() -> Iterator[Case]:
    def sdpa(**settings: Any) -> Any:
        return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **settings)

    def masked(q: Any, k: Any, v: Any, m: Any) -> Any:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=m)

    overload = "scaled_dot_product_attention.default"
    heads = {"q": Tensor("B, H, T, D"), "k": Tensor("B, H, S, D"), "v": Tensor("B, H, S, E")}
    yield _case("plain", overload, sdpa(), heads)
    yield _case("causal", overload, sdpa(is_causal=True), heads)
    yield _case("scaled", overload, sdpa(scale=0.25), heads)
    yield _case("rank3", overload, sdpa(), {k: Tensor(t.shape[3:]) for k, t in heads.items()})
    grouped = {
        "q": Tensor("B, 2 * H, T, D"), "k": Tensor("B, H, S, D"), "v": Tensor("B, H, S, E"),
    }  # fmt: skip
    yield _case("grouped", overload, sdpa(enable_gqa=True), grouped)
    yield _case("bool", overload, masked, {**heads, "m": mask("T, S")})
    yield _case("float", overload, masked, {**heads, "m": Tensor("B, 1, T, S")})
    # numbers that follow from sizes: a scale written out
    yield _case("scale", "div.Tensor", lambda q, k: q @ k.mT / q.shape[-1] ** 0.5,
                {"q": Tensor("B, T, D"), "k": Tensor("B, S, D")})  # fmt: skip
    yield _case("mean", "mul.Tensor", lambda x: x.sum(-1) * (1 / x.shape[-1]), X)
