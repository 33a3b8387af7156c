"""Convolution, pooling, padding and resizing, called the way a user's function would."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's own name)

from mkgen.task import Tensor
from tests.frontend_cases import Case

aten = torch.ops.aten

#: Number of spatial dimensions, their sizes, a window's sizes.
RANKS = ((1, "W", "S"), (2, "H, W", "R, S"), (3, "D, H, W", "T, R, S"))
WINDOW = (("R", 3), ("S", 2), ("T", 1))


def spatial_cases() -> Iterator[Case]:
    """Every case of this module."""
    yield from _convolutions()
    yield from _transposed()
    yield from _any_convolution()
    yield from _pools()
    yield from _adaptive()
    yield from _padding()
    yield from _resizes()
    yield from _samplers()


def _label(settings: dict[str, Any]) -> str:
    values = "_".join(f"{k}{v}" for k, v in settings.items())
    return "".join(c if c.isalnum() else "_" for c in values)


def _convolutions() -> Iterator[Case]:
    for rank, spatial, window in RANKS:
        function = getattr(F, f"conv{rank}d")
        groups: tuple[dict[str, Any], ...] = (
            {"groups": 3},
            {"groups": 3, "stride": 2, "padding": 1, "dilation": 2},
        )
        for settings in (
            {"padding": "same"}, {"padding": "same", "dilation": 2}, {"padding": "valid"},
        ):  # fmt: skip
            inputs = {"x": Tensor(f"N, C, {spatial}"), "weight": Tensor(f"K, C, {window}")}
            yield Case(
                f"conv{rank}d_{_label(settings)}",
                lambda x, weight, f=function, s=settings: f(x, weight, **s),
                inputs, f"aten.conv{rank}d.padding", WINDOW, 5, 9,
            )  # fmt: skip
        for settings in groups:
            for kind, filters in (("grouped", "3 * K, C"), ("depthwise", "3, 1"),
                                  ("multiplied", "3 * K, 1")):  # fmt: skip
                channels = "3 * C" if kind == "grouped" else "3"
                inputs = {
                    "x": Tensor(f"N, {channels}, {spatial}"),
                    "weight": Tensor(f"{filters}, {window}"),
                    "bias": Tensor(filters.split(",")[0]),
                }
                yield Case(
                    f"{kind}_conv{rank}d_{_label(settings)}",
                    lambda x, weight, bias, f=function, s=settings: f(x, weight, bias, **s),
                    inputs, f"aten.conv{rank}d.default", WINDOW, 5, 9,
                )  # fmt: skip
        alone = {"x": Tensor(f"C, {spatial}"), "weight": Tensor(f"K, C, {window}")}
        yield Case(
            f"conv{rank}d_unbatched", function, alone, f"aten.conv{rank}d.default", WINDOW, 5, 9
        )
    image = {"x": Tensor("N, C, H, W"), "weight": Tensor("K, C, 1, 1"), "bias": Tensor("K")}
    yield Case("conv2d_pointwise", F.conv2d, image, "aten.conv2d.default")
    yield Case(
        "conv2d_grouped_relu",
        lambda x, weight, bias: torch.relu(F.conv2d(x, weight, bias, groups=2)),
        {"x": Tensor("N, 2 * C, H, W"), "weight": Tensor("2 * K, C, 2, 2"),
         "bias": Tensor("2 * K")},
        "aten.conv2d.default", (), 3, 6,
    )  # fmt: skip


def _transposed() -> Iterator[Case]:
    overloads = {1: "default", 2: "input", 3: "input"}
    every: tuple[dict[str, Any], ...] = (
        {},
        {"stride": 2, "padding": 1, "output_padding": 1},
        {"stride": 3, "dilation": 2, "padding": 2},
        {"padding": 1},
    )
    for rank, spatial, window in RANKS:
        function = getattr(F, f"conv_transpose{rank}d")
        overload = f"aten.conv_transpose{rank}d.{overloads[rank]}"
        fixed = (("R", 3), ("S", 4), ("T", 3))
        largest = 4 if rank == 3 else 6
        for settings in every:
            for kind, groups, channels, filters in (
                ("whole", 1, "C", "K"), ("grouped", 3, "3 * C", "K"), ("depthwise", 3, "3", "1"),
                ("multiplied", 3, "3", "K"),
            ):  # fmt: skip
                inputs = {
                    "x": Tensor(f"N, {channels}, {spatial}"),
                    "weight": Tensor(f"{channels}, {filters}, {window}"),
                    "bias": Tensor(f"{groups} * {filters}"),
                }
                yield Case(
                    f"{kind}_conv_transpose{rank}d_{_label(settings)}",
                    lambda x, weight, bias, f=function, s=settings, g=groups: f(
                        x, weight, bias, groups=g, **s
                    ),
                    inputs, overload, fixed, 2, largest,
                )  # fmt: skip


def _any_convolution() -> Iterator[Case]:
    inputs = {"x": Tensor("N, C, H, W"), "weight": Tensor("C, C, R, S"), "bias": Tensor("C")}
    for transposed in (False, True):
        yield Case(
            f"convolution_{transposed}",
            lambda x, weight, bias, t=transposed: aten.convolution.default(
                x, weight, bias, [2, 1], [1], [1, 2], t, [1, 0] if t else [0, 0], 1
            ),
            inputs, "aten.convolution.default", WINDOW, 5, 8,
        )  # fmt: skip


def _pools() -> Iterator[Case]:
    slides: tuple[dict[str, Any], ...] = (
        {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
        {"kernel_size": 2, "stride": 3, "ceil_mode": True},
    )
    for rank, spatial, _ in RANKS:
        inputs = {"x": Tensor(f"N, C, {spatial}")}
        ties = {"x": Tensor(f"N, C, {spatial}", distribution="uniform", scale=3.0)}
        largest = getattr(F, f"max_pool{rank}d")
        for settings in (*slides, {"kernel_size": 2, "dilation": 2, "stride": 1, "padding": 1}):
            yield Case(
                f"max_pool{rank}d_{_label(settings)}",
                lambda x, f=largest, s=settings: f(x, **s),
                inputs, f"aten.max_pool{rank}d.default", (), 5, 9,
            )  # fmt: skip
        for settings in (*slides, {"kernel_size": 3, "dilation": 2, "stride": 1, "padding": 1}):
            for kind, make in (("ties", torch.floor), ("nan", _with_nan), ("low", _infinite)):
                yield Case(
                    f"max_pool{rank}d_indices_{kind}_{_label(settings)}",
                    lambda x, f=largest, s=settings, m=make: f(m(x), return_indices=True, **s)[1],
                    ties, f"aten.max_pool{rank}d_with_indices.default", (), 5, 9,
                )  # fmt: skip
        average = getattr(F, f"avg_pool{rank}d")
        odd = [{"kernel_size": 3, "stride": 2, "padding": 1}, *slides]
        if rank > 1:
            odd.append({"kernel_size": 2, "divisor_override": 3})
        for settings in odd:
            for padded in (True, False):
                yield Case(
                    f"avg_pool{rank}d_{padded}_{_label(settings)}",
                    lambda x, f=average, s=settings, p=padded: f(x, count_include_pad=p, **s),
                    inputs, f"aten.avg_pool{rank}d.default", (), 5, 9,
                )  # fmt: skip
    alone = {"x": Tensor("C, H, W")}
    yield Case(
        "max_pool2d_unbatched", lambda x: F.max_pool2d(x, 2), alone, "aten.max_pool2d.default",
        (), 4, 9,
    )  # fmt: skip


def _with_nan(x: torch.Tensor) -> torch.Tensor:
    """NaN where `x` is small."""
    return torch.log(x - 0.5)


def _infinite(x: torch.Tensor) -> torch.Tensor:
    """Minus infinity nearly everywhere, as padding is."""
    return torch.log(torch.relu(torch.floor(x) - 1.0))


def _adaptive() -> Iterator[Case]:
    for rank, spatial, _ in RANKS:
        inputs = {"x": Tensor(f"N, C, {spatial}")}
        average = getattr(F, f"adaptive_avg_pool{rank}d")
        largest = getattr(F, f"adaptive_max_pool{rank}d")
        for size in (1, 3, 4):
            yield Case(
                f"adaptive_avg_pool{rank}d_{size}", lambda x, f=average, s=size: f(x, s),
                inputs, f"aten.adaptive_avg_pool{rank}d.default", (), 2, 9,
            )  # fmt: skip
            yield Case(
                f"adaptive_max_pool{rank}d_{size}", lambda x, f=largest, s=size: f(x, s),
                inputs, f"aten.adaptive_max_pool{rank}d.default", (), 2, 9,
            )  # fmt: skip
            yield Case(
                f"adaptive_max_pool{rank}d_indices_{size}",
                lambda x, f=largest, s=size: f(torch.floor(x), s, return_indices=True)[1],
                inputs, f"aten.adaptive_max_pool{rank}d.default", (), 2, 9,
            )  # fmt: skip


def _padding() -> Iterator[Case]:
    image = {"x": Tensor("N, C, H, W")}
    for mode in ("constant", "reflect", "replicate", "circular"):
        for pad in ([1, 2, 3, 0], [2, 2, -1, 1]):
            if mode != "constant" and min(pad) < 0:
                continue
            yield Case(
                f"pad_{mode}_{pad}",
                lambda x, m=mode, p=pad: F.pad(x, p, mode=m, **({"value": 1.5} if m == "constant"
                                                                else {})),
                image, "aten.pad.default", (), 4, 9,
            )  # fmt: skip
    yield Case(
        "constant_pad_nd", lambda x: aten.constant_pad_nd.default(x, [1, 0, -1, 2], 2.0), image,
        "aten.constant_pad_nd.default", (), 3, 9,
    )  # fmt: skip
    for rank, spatial, _ in RANKS:
        inputs = {"x": Tensor(f"N, C, {spatial}")}
        for op in ("reflection", "replication"):
            function = getattr(aten, f"{op}_pad{rank}d").default
            yield Case(
                f"{op}_pad{rank}d", lambda x, f=function, r=rank: f(x, [1, 2] * r), inputs,
                f"aten.{op}_pad{rank}d.default", (), 3, 7,
            )  # fmt: skip


_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def _resizes() -> Iterator[Case]:
    for rank, spatial, _ in RANKS:
        inputs = {"x": Tensor(f"N, C, {spatial}")}
        largest = 12 if rank < 3 else 7
        sizes = [7] * rank
        targets: tuple[dict[str, Any], ...] = (
            {"scale_factor": 2.0}, {"scale_factor": 1.7}, {"scale_factor": 0.6}, {"size": sizes},
        )  # fmt: skip
        for target in targets:
            for mode, op in (("nearest", "upsample_nearest"),
                             ("nearest-exact", "_upsample_nearest_exact")):  # fmt: skip
                yield Case(
                    f"{mode}{rank}d_{_label(target)}",
                    lambda x, m=mode, t=target: F.interpolate(x, mode=m, **t),
                    inputs, f"aten.{op}{rank}d.vec", (), 2, largest,
                )  # fmt: skip
            modes = [_LINEAR[rank]] + (["bicubic"] if rank == 2 else [])
            for mode in modes:
                for align in (True, False):
                    yield Case(
                        f"{mode}{rank}d_{align}_{_label(target)}",
                        lambda x, m=mode, t=target, a=align: F.interpolate(
                            x, mode=m, align_corners=a, **t
                        ),
                        inputs, f"aten.upsample_{mode}{rank}d.vec", (), 2, largest,
                    )  # fmt: skip
        for op in ("upsample_nearest", "_upsample_nearest_exact"):
            function = getattr(aten, f"{op}{rank}d").default
            yield Case(
                f"{op}{rank}d_default", lambda x, f=function, s=sizes: f(x, s), inputs,
                f"aten.{op}{rank}d.default", (), 2, largest,
            )  # fmt: skip
        for mode in [_LINEAR[rank]] + (["bicubic"] if rank == 2 else []):
            function = getattr(aten, f"upsample_{mode}{rank}d").default
            yield Case(
                f"{mode}{rank}d_default", lambda x, f=function, s=sizes: f(x, s, True), inputs,
                f"aten.upsample_{mode}{rank}d.default", (), 2, largest,
            )  # fmt: skip
    one = {"x": Tensor("N, C, H, W")}
    yield Case(
        "bilinear_to_one",
        lambda x: F.interpolate(x, size=[1, 5], mode="bilinear", align_corners=True),
        one, "aten.upsample_bilinear2d.vec", (), 1, 5,
    )  # fmt: skip


def _samplers() -> Iterator[Case]:
    flat = {"x": Tensor("N, C, H, W"), "grid": Tensor("N, P, Q, 2")}
    deep = {"x": Tensor("N, C, D, H, W"), "grid": Tensor("N, O, P, Q, 3")}
    modes = {"bilinear": 0, "nearest": 1, "bicubic": 2}
    for padding in ("zeros", "border", "reflection"):
        for align in (True, False):
            for mode, number in modes.items():
                yield Case(
                    f"grid_sample_{mode}_{padding}_{align}",
                    lambda x, grid, m=mode, p=padding, a=align: F.grid_sample(x, grid, m, p, a),
                    flat, "aten.grid_sampler.default", (), 1, 7,
                )  # fmt: skip
                where = ("zeros", "border", "reflection").index(padding)
                if mode == "bicubic":
                    continue
                for inputs, op in ((flat, "grid_sampler_2d"), (deep, "grid_sampler_3d")):
                    function = getattr(aten, op).default
                    yield Case(
                        f"{op}_{mode}_{padding}_{align}",
                        lambda x, grid, f=function, m=number, p=where, a=align: f(x, grid, m, p, a),
                        inputs, f"aten.{op}.default", (), 1, 5,
                    )  # fmt: skip
    theta = {"theta": Tensor("N, 2, 3")}
    solid = {"theta": Tensor("N, 3, 4")}
    for align in (True, False):
        yield Case(
            f"affine_grid_{align}",
            lambda theta, a=align: F.affine_grid(theta, [theta.shape[0], 3, 5, 6], a),
            theta, "aten.affine_grid_generator.default",
        )  # fmt: skip
        yield Case(
            f"affine_grid_solid_{align}",
            lambda theta, a=align: F.affine_grid(theta, [theta.shape[0], 3, 4, 1, 6], a),
            solid, "aten.affine_grid_generator.default",
        )  # fmt: skip
