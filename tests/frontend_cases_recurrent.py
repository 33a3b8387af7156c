"""Recurrent layers of every kind, depth, direction and layout, called as PyTorch's modules do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from mkgen.task import Tensor
from tests.frontend_cases import Case

GATES = {"gru": 3, "lstm": 4, "rnn_tanh": 1, "rnn_relu": 1}
#: layers, both directions, batch first, biases, which output is compared
VARIANTS = (
    (1, False, False, True, 0), (1, True, True, False, 0), (2, False, True, True, 0),
    (2, True, False, True, 0), (2, True, False, True, 1), (1, False, False, False, 1),
)  # fmt: skip


def inputs(
    kind: str, layers: int, both: bool, batch_first: bool, biases: bool
) -> dict[str, Tensor]:
    """The input, the first states, and parameters small enough that states stay of order one."""
    ways = 2 if both else 1
    made = {
        "x": Tensor("B, T, I" if batch_first else "T, B, I"),
        "h0": Tensor(f"{layers * ways}, B, H"),
    }
    if kind == "lstm":
        made["c0"] = Tensor(f"{layers * ways}, B, H")
    gates = f"{GATES[kind]} * H"
    for number in range(layers * ways):
        width = "I" if number < ways else f"{ways} * H"
        made[f"w{number}"] = Tensor(f"{gates}, {width}", scale=0.3)
        made[f"u{number}"] = Tensor(f"{gates}, H", scale=0.3)
        if biases:
            made[f"p{number}"] = Tensor(gates)
            made[f"q{number}"] = Tensor(gates)
    return made


def _call(kind: str, layers: int, both: bool, batch_first: bool, biases: bool, output: int) -> Any:
    def reference(x: torch.Tensor, h0: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        start: Any = (h0, rest[0]) if kind == "lstm" else h0
        parameters = list(rest[1:] if kind == "lstm" else rest)
        function = getattr(torch, kind)
        results = function(x, start, parameters, biases, layers, 0.0, False, both, batch_first)
        chosen: torch.Tensor = results[output]
        return chosen

    return reference


def recurrent() -> Iterator[Case]:
    """Cases of every overload."""
    for kind in GATES:
        outputs = (*VARIANTS, (2, True, True, True, 2)) if kind == "lstm" else VARIANTS
        for layers, both, batch_first, biases, output in outputs:
            name = f"{kind}_{layers}{'_both' * both}{'_batch' * batch_first}_{output}"
            yield Case(
                name + "_plain" * (not biases),
                _call(kind, layers, both, batch_first, biases, output),
                inputs(kind, layers, both, batch_first, biases),
                f"aten.{kind}.input",
            )
