"""Cases of pointwise ops, reductions, normalisations, scans and losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's own name)

from mkgen.task import Tensor

if TYPE_CHECKING:
    from tests.frontend_cases import Case

aten = torch.ops.aten
Make = Callable[..., "Case"]

X = {"x": Tensor("A, B, C", scale=2.0)}
POSITIVE = {"x": Tensor("A, B, C", distribution="uniform", scale=3.0)}
PAIR = {"x": Tensor("A, B, C", scale=2.0), "z": Tensor("B, C", scale=2.0)}
TIES = {"x": Tensor("A, B, C", distribution="integers", low=-3, high=4)}
INTS = {"x": Tensor("A, B", dtype="int64", distribution="integers", low=-9, high=9)}
BOOLS = {"x": Tensor("A, B", dtype="bool"), "z": Tensor("B", dtype="bool")}
UNIT = {"x": Tensor("A, B", distribution="uniform"), "z": Tensor("A, B", distribution="uniform")}
MATRICES = {"x": Tensor("A, B"), "z": Tensor("A, B")}


def norm_cases(case: Make) -> tuple[Case, ...]:
    """Every case of these families; `case` is the class."""
    families = (_activations, _math, _mixed, _logic, _bounds, _reductions, _scans, _norms, _losses)
    return tuple(c for family in families for c in family(case))


def _activations(case: Make) -> Iterator[Case]:
    for op in ("hardsigmoid", "hardswish", "selu", "mish", "relu6", "celu", "elu", "softplus"):
        yield case(op, getattr(F, op), X, f"aten.{op}.default")
    yield case("logsigmoid", F.logsigmoid, X, "aten.log_sigmoid.default")
    yield case("hardtanh", lambda x: F.hardtanh(x, -0.5, 1.5), X, "aten.hardtanh.default")
    yield case("elu_alpha", lambda x: F.elu(x, 0.7), X, "aten.elu.default")
    yield case("celu_alpha", lambda x: F.celu(x, 0.7), X, "aten.celu.default")
    wide = {"x": Tensor("A, B, C", scale=30.0)}
    yield case("softplus_beta", lambda x: F.softplus(x, 0.7, 5), wide, "aten.softplus.default")
    yield case("mish_wide", F.mish, wide, "aten.mish.default")
    yield case("threshold", lambda x: F.threshold(x, 0.1, 20.0), X, "aten.threshold.default")
    yield case("softshrink", lambda x: F.softshrink(x, 0.7), X, "aten.softshrink.default")
    yield case("hardshrink", lambda x: F.hardshrink(x, 0.7), X, "aten.hardshrink.default")
    yield case(
        "prelu", lambda x, w: F.prelu(x, w), {"x": Tensor("A, B, C"), "w": Tensor("B")},
        "aten.prelu.default",
    )  # fmt: skip
    yield case(
        "prelu_one", lambda x, w: F.prelu(x, w), {"x": Tensor("A, B, C"), "w": Tensor("O")},
        "aten.prelu.default", (("O", 1),),
    )  # fmt: skip
    kernel = aten._prelu_kernel.default
    yield case(
        "prelu_kernel", lambda x, w: kernel(x, w),
        {"x": Tensor("A, B, C"), "w": Tensor("A, B, C")}, "aten._prelu_kernel.default",
    )  # fmt: skip
    for dim in (-1, 0):
        yield case(
            f"glu{dim}", lambda x, d=dim: F.glu(x, d), {"x": Tensor("2 * A, B, 2 * C")},
            "aten.glu.default",
        )  # fmt: skip
    yield case("dropout", lambda x: F.dropout(x, 0.5, False) * 2.0, X, "aten.dropout.default")
    like = {"x": Tensor("A"), "z": Tensor("B", dtype="int64", distribution="integers", high=9)}
    yield case("type_as", lambda x, z: z.type_as(x) * 0.5, like, "aten.type_as.default")
    layout = aten.to.dtype_layout
    yield case(
        "to_layout", lambda x: layout(x, dtype=torch.float32, layout=torch.strided) * 0.5, INTS,
        "aten.to.dtype_layout",
    )  # fmt: skip
    for op in ("relu", "sigmoid", "hardswish"):
        changing = getattr(aten, f"{op}_").default
        yield case(f"{op}_in_place", lambda x, f=changing: f(x * 2.0) + 1.0, X,
                   f"aten.{op}_.default")  # fmt: skip
    yield case("chain_in_place", _in_place_chain, X, "aten.add_.Tensor")


def _in_place_chain(x: torch.Tensor) -> torch.Tensor:
    y = x * 2.0
    z = y.detach()
    y += 1.0
    z.mul_(3.0)
    return y - x + z


def _math(case: Make) -> Iterator[Case]:
    for op in ("sin", "cos", "tan", "exp2", "expm1", "sign", "ceil", "trunc", "round", "frac",
               "isnan", "isinf", "isfinite", "logical_not"):  # fmt: skip
        function = getattr(aten, op).default
        yield case(op, lambda x, f=function: f(x * 0.5), X, f"aten.{op}.default")
    for op in ("log2", "log10", "log1p"):
        function = getattr(aten, op).default
        yield case(op, lambda x, f=function: f(x + 0.1), POSITIVE, f"aten.{op}.default")
    for op in ("floor", "ceil", "round"):
        function = getattr(aten, op).default
        yield case(f"{op}_ints", lambda x, f=function: f(x), INTS, f"aten.{op}.default")
    yield case("exp_ints", lambda x: torch.exp(x), INTS, "aten.exp.default")
    yield case("ties_to_even", lambda x: torch.round(x * 0.5), TIES, "aten.round.default")
    for exponent in (0, 1, 2, 3, 4, -1, -2):
        yield case(
            f"pow{exponent}", lambda x, e=exponent: (x + 0.1) ** e, POSITIVE,
            "aten.pow.Tensor_Scalar",
        )  # fmt: skip
    for exponent in (0.5, -0.5, 0.75, 2.0):
        yield case(
            f"pow{exponent}", lambda x, e=exponent: (x + 0.1) ** e, POSITIVE,
            "aten.pow.Tensor_Scalar",
        )  # fmt: skip
    yield case("pow_ints", lambda x: x**3, INTS, "aten.pow.Tensor_Scalar")
    yield case("pow_scalar", lambda x: 2.5**x, X, "aten.pow.Scalar")
    both = {"x": POSITIVE["x"], "z": Tensor("B, C")}
    yield case("pow_tensor", lambda x, z: (x + 0.1) ** z, both, "aten.pow.Tensor_Tensor")


def _mixed(case: Make) -> Iterator[Case]:
    yield case("rsub", lambda x: 1.5 - x, X, "aten.rsub.Scalar")
    yield case("rsub_alpha", lambda x: torch.rsub(x, 1.5, alpha=2), X, "aten.rsub.Scalar")
    rsub = aten.rsub.Tensor
    yield case("rsub_tensor", lambda x, z: rsub(x, z, alpha=2), PAIR, "aten.rsub.Tensor")
    yield case("multiply", aten.multiply.Tensor, PAIR, "aten.multiply.Tensor")
    for op in ("max", "min"):
        other = getattr(aten, op).other
        yield case(f"{op}_other", lambda x, z, f=other: f(x, z), PAIR, f"aten.{op}.other")
    for op in ("remainder", "fmod"):
        tensor, scalar = getattr(aten, op).Tensor, getattr(aten, op).Scalar
        yield case(f"{op}_tensor", lambda x, z, f=tensor: f(x, z), PAIR, f"aten.{op}.Tensor")
        for by in (1.5, -1.5):
            yield case(f"{op}{by}", lambda x, f=scalar, b=by: f(x, b), X, f"aten.{op}.Scalar")
    ties = {"x": TIES["x"], "z": Tensor("B, C", scale=2.0)}
    yield case("floor_divide", lambda x, z: x // z, ties, "aten.floor_divide.default")
    whole = aten.floor_divide.Scalar
    yield case("floor_divide_scalar", lambda x: whole(x, 0.5), TIES, "aten.floor_divide.Scalar")
    for mode in (None, "floor", "trunc"):
        tensor, scalar = aten.div.Tensor_mode, aten.div.Scalar_mode
        yield case(
            f"div_{mode}", lambda x, z, m=mode, f=tensor: f(x, z, rounding_mode=m), ties,
            "aten.div.Tensor_mode",
        )  # fmt: skip
        yield case(
            f"div_scalar_{mode}", lambda x, m=mode, f=scalar: f(x, 1.5, rounding_mode=m), TIES,
            "aten.div.Scalar_mode",
        )  # fmt: skip
    yield case("ints_by_float", lambda x: x * 0.5 + 1, INTS, "aten.mul.Tensor")
    yield case("ints_divided", lambda x: x / 4, INTS, "aten.div.Tensor")
    yield case("bool_times", lambda x, z: x * 2 + z, BOOLS, "aten.mul.Tensor")
    three = {**PAIR, "w": Tensor("C", distribution="uniform", low=1, high=2)}
    for op in ("addcmul", "addcdiv"):
        function = getattr(torch, op)
        yield case(op, lambda x, z, w, f=function: f(x, z, w), three, f"aten.{op}.default")
        yield case(
            f"{op}_value", lambda x, z, w, f=function: f(x, z, w, value=0.5), three,
            f"aten.{op}.default",
        )  # fmt: skip
    for weight in (0.3, 0.8):
        yield case(
            f"lerp{weight}", lambda x, z, w=weight: torch.lerp(x, z, w), MATRICES,
            "aten.lerp.Scalar",
        )  # fmt: skip
    unit = {**MATRICES, "w": Tensor("A, B", distribution="uniform")}
    yield case("lerp_tensor", lambda x, z, w: torch.lerp(x, z, w), unit, "aten.lerp.Tensor")


def _logic(case: Make) -> Iterator[Case]:
    rough = {"x": TIES["x"], "z": Tensor("B, C", distribution="integers", low=-3, high=4)}
    for op in ("eq", "ne", "lt", "le", "gt", "ge"):
        tensor, scalar = getattr(aten, op).Tensor, getattr(aten, op).Scalar
        yield case(f"{op}_tensor", lambda x, z, f=tensor: f(x, z), rough, f"aten.{op}.Tensor")
        yield case(f"{op}_scalar", lambda x, f=scalar: f(x, 1), TIES, f"aten.{op}.Scalar")
    for op in ("and", "or", "xor"):
        for overload in (f"logical_{op}.default", f"bitwise_{op}.Tensor", f"__{op}__.Tensor"):
            packet, form = overload.split(".")
            function = getattr(getattr(aten, packet), form)
            yield case(overload, lambda x, z, f=function: f(x, z), BOOLS, f"aten.{overload}")
        logical = getattr(aten, f"logical_{op}").default
        yield case(f"{op}_numbers", lambda x, z, f=logical: f(x, z), rough,
                   f"aten.logical_{op}.default")  # fmt: skip
    yield case("bitwise_not", lambda x, z: ~x & z, BOOLS, "aten.bitwise_not.default")


def _bounds(case: Make) -> Iterator[Case]:
    bounds = {**X, "low": Tensor("C"), "high": Tensor("B, C")}
    yield case("clamp", lambda x: x.clamp(-0.5, 1), X, "aten.clamp.default")
    yield case("clamp_low", lambda x: x.clamp(min=0.3), X, "aten.clamp.default")
    yield case("clamp_high", lambda x: x.clamp(max=0.3), X, "aten.clamp.default")
    both = aten.clamp.Tensor
    yield case("clamp_tensors", lambda x, low, high: both(x, low, high), bounds,
               "aten.clamp.Tensor")  # fmt: skip
    yield case("clamp_tensor_high", lambda x, low, high: both(x, None, high) + low, bounds,
               "aten.clamp.Tensor")  # fmt: skip
    for word in ("min", "max"):
        packet = getattr(aten, f"clamp_{word}")
        yield case(f"clamp_{word}", lambda x, f=packet.default: f(x, 0.3), X,
                   f"aten.clamp_{word}.default")  # fmt: skip
        yield case(f"clamp_{word}_tensor", lambda x, z, f=packet.Tensor: f(x, z), PAIR,
                   f"aten.clamp_{word}.Tensor")  # fmt: skip
    yield case("where", lambda x, z: torch.where(x > z, x, z * 2), PAIR, "aten.where.self")
    yield case("where_other", lambda x: torch.where(x > 0.5, x, 0.0), X, "aten.where.ScalarOther")
    yield case("where_self", lambda x: torch.where(x > 0.5, 1.0, x), X, "aten.where.ScalarSelf")
    yield case("where_scalar", lambda x: torch.where(x > 0.5, 1.0, 2.5), X, "aten.where.Scalar")
    fill = aten.masked_fill.Tensor
    yield case("masked_fill", lambda x, z: x.masked_fill(z > 0, -7.5), PAIR,
               "aten.masked_fill.Scalar")  # fmt: skip
    spread = {"x": Tensor("A, B"), "z": Tensor("B"), "w": Tensor("")}
    yield case("masked_fill_tensor", lambda x, z, w: fill(x, z > 0, w), spread,
               "aten.masked_fill.Tensor")  # fmt: skip
    yield case("nan_to_num", lambda x: torch.nan_to_num(torch.log(x), 0.5), X,
               "aten.nan_to_num.default")  # fmt: skip
    yield case("nan_to_num_bounds", lambda x: torch.nan_to_num(x / 0.0, 0.5, 7.0, -8.0), X,
               "aten.nan_to_num.default")  # fmt: skip


def _reductions(case: Make) -> Iterator[Case]:
    small = {"x": Tensor("A, B, C", distribution="uniform", low=0, high=2)}
    yield case("prod_all", lambda x: x.prod(), small, "aten.prod.default")
    yield case("prod_ints", lambda x: x.prod(1), INTS, "aten.prod.dim_int")
    for keep in (False, True):
        yield case(f"prod{keep}", lambda x, k=keep: x.prod(1, k), small, "aten.prod.dim_int")
        for op in ("max", "min"):
            function = getattr(torch, op)
            for part in (0, 1):
                yield case(
                    f"{op}_dim{keep}{part}",
                    lambda x, k=keep, p=part, f=function: f(x, 1, k)[p],
                    TIES, f"aten.{op}.dim",
                )  # fmt: skip
            yield case(
                f"aminmax{keep}{op}",
                lambda x, k=keep, p=op: getattr(torch.aminmax(x, dim=0, keepdim=k), p),
                X, "aten.aminmax.default",
            )  # fmt: skip
        yield case(f"logsumexp{keep}", lambda x, k=keep: x.logsumexp([0, 2], k), X,
                   "aten.logsumexp.default")  # fmt: skip
    for op in ("max", "min"):
        yield case(f"{op}_all", getattr(torch, op), X, f"aten.{op}.default")
        yield case(f"arg{op}_all", getattr(torch, f"arg{op}"), TIES, f"aten.arg{op}.default")
    yield case("sum_ints", lambda x: x.sum(0), INTS, "aten.sum.dim_IntList")
    yield case("sum_bools", lambda x, z: x.sum(0) + z, BOOLS, "aten.sum.dim_IntList")
    yield case("amax_ends", lambda x: x.amax((0, 2)), X, "aten.amax.default")
    yield case("mean_dtype", lambda x: x.mean(1, dtype=torch.float32), X, "aten.mean.dim")
    for op in ("var", "std"):
        word = getattr(torch, op)
        default, dim = getattr(aten, op).default, getattr(aten, op).dim
        yield case(f"{op}_all", lambda x, f=default: f(x, False), X, f"aten.{op}.default")
        yield case(f"{op}_dim", lambda x, f=dim: f(x, [1], True, True), X, f"aten.{op}.dim",
                   smallest=2)  # fmt: skip
        yield case(f"{op}_correction", lambda x, f=word: f(x, dim=(0, 2), correction=0), X,
                   f"aten.{op}.correction")  # fmt: skip
        inner = getattr(aten, op).correction
        yield case(f"{op}_keep", lambda x, f=inner: f(x, [1], correction=2, keepdim=True), X,
                   f"aten.{op}.correction", smallest=4)  # fmt: skip
        packet = getattr(aten, f"{op}_mean")
        yield case(f"{op}_mean", lambda x, f=packet.default: f(x)[0] + f(x)[1], X,
                   f"aten.{op}_mean.default", smallest=2)  # fmt: skip
        yield case(f"{op}_mean_dim", lambda x, f=packet.dim: f(x, [1], False)[1], X,
                   f"aten.{op}_mean.dim")  # fmt: skip
        yield case(f"{op}_mean_correction", lambda x, f=packet.correction: f(x, [0])[0], X,
                   f"aten.{op}_mean.correction", smallest=2)  # fmt: skip
    yield from _norms_of_vectors(case)
    for op in ("any", "all"):
        packet = getattr(aten, op)
        yield case(f"{op}_whole", lambda x, f=packet.default: f(x > 0.5), X, f"aten.{op}.default")
        yield case(f"{op}_dim", lambda x, f=packet.dim: f(x, 1, True), TIES, f"aten.{op}.dim")
        yield case(f"{op}_dims", lambda x, f=packet.dims: f(x > 0, [0, 2]), TIES, f"aten.{op}.dims")
    yield case(
        "count_nonzero", lambda x: torch.count_nonzero(x), TIES, "aten.count_nonzero.default"
    )
    yield case("count_dim", lambda x: torch.count_nonzero(x, (0, 2)), TIES,
               "aten.count_nonzero.dim_IntList")  # fmt: skip


def _norms_of_vectors(case: Make) -> Iterator[Case]:
    overload = "aten.linalg_vector_norm.default"
    for order in (2, 1, 0, 3, 0.5, float("inf"), float("-inf")):
        yield case(f"norm{order}", lambda x, p=order: torch.linalg.vector_norm(x, p, dim=(0, 2)),
                   POSITIVE, overload)  # fmt: skip
    yield case("norm_all", lambda x: torch.norm(x), X, overload)
    yield case("norm_keep", lambda x: torch.norm(x, p=1, dim=1, keepdim=True), X, overload)
    yield case("norm_of_last", lambda x: torch.linalg.norm(x, dim=-1), X,
               "aten.linalg_norm.default")  # fmt: skip
    some = aten.norm.ScalarOpt_dim
    yield case("old_norm_dim", lambda x: some(x, 2, [1], True), X, "aten.norm.ScalarOpt_dim")
    yield case("old_norm", lambda x: aten.norm.Scalar(x), X, "aten.norm.Scalar")


def _scans(case: Make) -> Iterator[Case]:
    small = {"x": Tensor("A, B, C", distribution="uniform", low=0, high=2)}
    for dim in (0, 1, 2):
        yield case(f"cumsum{dim}", lambda x, d=dim: x.cumsum(d), X, "aten.cumsum.default")
        yield case(f"cumprod{dim}", lambda x, d=dim: x.cumprod(d), small, "aten.cumprod.default")
        for op in ("cummax", "cummin"):
            function = getattr(torch, op)
            for part in (0, 1):
                yield case(
                    f"{op}{dim}{part}",
                    lambda x, d=dim, p=part, f=function: f(x, d)[p],
                    TIES, f"aten.{op}.default",
                )  # fmt: skip
    yield case("cumsum_ints", lambda x: x.cumsum(1), INTS, "aten.cumsum.default")
    yield case("cumsum_bools", lambda x, z: x.cumsum(0) + z, BOOLS, "aten.cumsum.default")
    yield case("cumsum_masked", lambda x: torch.where(x > 0, x, 0.0).cumsum(-1), X,
               "aten.cumsum.default")  # fmt: skip


def _norms(case: Make) -> Iterator[Case]:
    image = {"x": Tensor("N, 3 * C, H, W", shift=3.0)}
    channels = {"weight": Tensor("3 * C"), "bias": Tensor("3 * C")}
    state = {"mean": Tensor("3 * C"), "var": Tensor("3 * C", distribution="uniform", shift=0.5)}
    last = {"x": Tensor("A, B, C", shift=1.0), "weight": Tensor("C")}
    yield case("rms_norm", lambda x, weight: F.rms_norm(x, (x.shape[-1],), weight), last,
               "aten.rms_norm.default")  # fmt: skip
    yield case("rms_norm_two", lambda x: F.rms_norm(x, tuple(x.shape[1:]), eps=1e-3), X,
               "aten.rms_norm.default")  # fmt: skip
    yield case("group_norm", lambda x, weight, bias: F.group_norm(x, 3, weight, bias),
               image | channels, "aten.group_norm.default", smallest=2)  # fmt: skip
    yield case("group_norm_plain", lambda x: F.group_norm(x, 3) * 2.0, image,
               "aten.group_norm.default", smallest=2)  # fmt: skip
    instance = F.instance_norm
    yield case("instance_norm", lambda x, weight, bias: instance(x, None, None, weight, bias),
               image | channels, "aten.instance_norm.default", smallest=3)  # fmt: skip
    yield case("instance_norm_plain", F.instance_norm, image, "aten.instance_norm.default",
               smallest=3)  # fmt: skip
    yield case(
        "instance_norm_state",
        lambda x, mean, var: F.instance_norm(x, mean, var, use_input_stats=False),
        image | state, "aten.instance_norm.default",
    )  # fmt: skip
    yield case("batch_norm_eval", lambda x, mean, var: F.batch_norm(x, mean, var), image | state,
               "aten.batch_norm.default")  # fmt: skip
    yield case(
        "batch_norm_train",
        lambda x, weight, bias: F.batch_norm(x, None, None, weight, bias, training=True),
        image | channels, "aten.batch_norm.default", smallest=2,
    )  # fmt: skip
    yield case("batch_norm_1d", lambda x: F.batch_norm(x, None, None, training=True),
               {"x": Tensor("N, C")}, "aten.batch_norm.default", smallest=4)  # fmt: skip
    for dim in (0, 1, -1):
        yield case(f"cosine{dim}", lambda x, z, d=dim: F.cosine_similarity(x, z, d), PAIR,
                   "aten.cosine_similarity.default")  # fmt: skip
    yield case("pairwise_distance", lambda x, z: F.pairwise_distance(x, z, keepdim=True), MATRICES,
               "aten.pairwise_distance.default")  # fmt: skip


def _losses(case: Make) -> Iterator[Case]:
    for reduction in (0, 1, 2):
        for op in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "soft_margin_loss"):
            function = getattr(aten, op).default
            yield case(f"{op}{reduction}", lambda x, z, f=function, r=reduction: f(x, z, r),
                       MATRICES, f"aten.{op}.default")  # fmt: skip
        bce = aten.binary_cross_entropy.default
        yield case(f"bce{reduction}", lambda x, z, f=bce, r=reduction: f(x, z, None, r), UNIT,
                   "aten.binary_cross_entropy.default")  # fmt: skip
        yield from _class_losses(case, reduction, ("none", "mean", "sum")[reduction])
    for beta in (0.3, 2.0):
        smooth, huber = aten.smooth_l1_loss.default, aten.huber_loss.default
        yield case(f"smooth_l1_beta{beta}", lambda x, z, f=smooth, b=beta: f(x, z, beta=b),
                   MATRICES, "aten.smooth_l1_loss.default")  # fmt: skip
        yield case(f"huber_delta{beta}", lambda x, z, f=huber, b=beta: f(x, z, delta=b),
                   MATRICES, "aten.huber_loss.default")  # fmt: skip
    logits = F.binary_cross_entropy_with_logits
    name = "aten.binary_cross_entropy_with_logits.default"
    positive = {**UNIT, "w": Tensor("B", distribution="uniform", shift=0.5)}
    yield case("bce_logits", lambda x, z: logits(x, z), UNIT, name)
    yield case("bce_logits_weights", lambda x, z, w: logits(x, z, w, pos_weight=w), positive, name)
    weighed = aten.binary_cross_entropy.default
    yield case("bce_weights", lambda x, z, w: weighed(x, z, w), positive,
               "aten.binary_cross_entropy.default")  # fmt: skip
    yield case("kl_div", lambda x, z: F.kl_div(x, z, reduction="sum"), UNIT, "aten.kl_div.default")
    yield case("kl_div_log", lambda x, z: F.kl_div(x, z, reduction="none", log_target=True), UNIT,
               "aten.kl_div.default")  # fmt: skip
    sign = {**MATRICES, "y": Tensor("A", dtype="int64", distribution="integers", high=2)}
    yield case("hinge_embedding", lambda x, z: F.hinge_embedding_loss(x, torch.sign(z)), MATRICES,
               "aten.hinge_embedding_loss.default")  # fmt: skip
    yield case("margin_ranking", lambda x, z: F.margin_ranking_loss(x, z, torch.sign(z), 0.3),
               MATRICES, "aten.margin_ranking_loss.default")  # fmt: skip
    yield case("cosine_embedding", lambda x, z, y: F.cosine_embedding_loss(x, z, y * 2 - 1, 0.1),
               sign, "aten.cosine_embedding_loss.default", smallest=2)  # fmt: skip
    three = {**MATRICES, "w": Tensor("A, B")}
    for settings in ({}, {"swap": True, "reduction": "none"}, {"p": 1.0, "margin": 0.3}):
        yield case(
            f"triplet_{'_'.join(settings)}",
            lambda x, z, w, s=settings: F.triplet_margin_loss(x, z, w, **s), three,
            "aten.triplet_margin_loss.default",
        )  # fmt: skip


def _class_losses(case: Make, number: int, reduction: str) -> Iterator[Case]:
    label = Tensor("N", dtype="int64", distribution="integers", high="C")
    flat: dict[str, Tensor] = {"x": Tensor("N, C"), "y": label}
    image = {"x": Tensor("N, C, H"), "y": label.model_copy(update={"shape": "N, H"})}
    weights = {"w": Tensor("C", distribution="uniform", shift=0.5)}
    given: dict[str, Any] = {"reduction": reduction}
    for words, inputs in (("flat", flat), ("image", image)):
        yield case(f"cross_entropy_{words}_{reduction}",
                   lambda x, y: F.cross_entropy(x, y, **given), inputs,
                   "aten.cross_entropy_loss.default")  # fmt: skip
        yield case(
            f"cross_entropy_weights_{words}_{reduction}",
            lambda x, y, w: F.cross_entropy(x, y, w, ignore_index=1, **given), inputs | weights,
            "aten.cross_entropy_loss.default", smallest=5,
        )  # fmt: skip
        yield case(f"nll_{words}_{reduction}", lambda x, y: F.nll_loss(x, y, **given), inputs,
                   "aten.nll_loss_nd.default")  # fmt: skip
    soft = {"x": Tensor("N, C, H"), "y": Tensor("N, C, H", distribution="uniform")}
    yield case(f"cross_entropy_soft_{reduction}", lambda x, y: F.cross_entropy(x, y, **given), soft,
               "aten.cross_entropy_loss.default")  # fmt: skip
    plain = aten.nll_loss.default
    yield case(f"old_nll_{reduction}", lambda x, y, w: plain(x, y, w, number, -100), flat | weights,
               "aten.nll_loss.default")  # fmt: skip
    plane = aten.nll_loss2d.default
    wide = {"x": Tensor("N, C, H, W"), "y": label.model_copy(update={"shape": "N, H, W"})}
    yield case(f"nll2d_{reduction}", lambda x, y: plane(x, y, None, number, -100), wide,
               "aten.nll_loss2d.default")  # fmt: skip
