"""GRU, LSTM and plain recurrent layers: one product for all inputs, then a loop over time.

In the loop there is the recurrent product and what follows from it. The reverse direction walks the
same slices from the last to the first, so that nothing is flipped in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mkgen.expression import Expression, Int, Name
from mkgen.frontend.context import Context, Operand, apply, constant
from mkgen.frontend.lower import lowers
from mkgen.ir.nest import (
    Apply,
    Axis,
    Bound,
    IndexValue,
    Load,
    Loop,
    Nest,
    TensorInfo,
    Value,
    map_value,
)

#: A part of a round: from the gates of the input, those of the hidden state (each by its number)
#: and the state before, the value of every state after it, the hidden one last.
Step = Callable[[Callable[[int], Value], Callable[[int], Value], tuple[Value, ...]], list[Apply]]


@dataclass(frozen=True)
class Cell:
    """One kind of recurrent layer."""

    gates: int
    """Blocks of rows in a weight matrix."""
    states: tuple[str, ...]
    """What a round hands to the next one; the last is the hidden state, the layer's output."""
    step: Step
    apart: bool = False
    """Whether the bias of the hidden product stays with it: the reset gate scales both."""


@dataclass(frozen=True)
class Weights:
    """The parameters of one direction of one layer."""

    inputs: Operand
    hidden: Operand
    input_bias: Operand | None = None
    hidden_bias: Operand | None = None


def _gru_step(
    x: Callable[[int], Value], h: Callable[[int], Value], states: tuple[Value, ...]
) -> list[Apply]:
    (state,) = states
    reset = apply("sigmoid", apply("add", x(0), h(0)), name="reset")
    update = apply("sigmoid", apply("add", x(1), h(1)), name="update")
    candidate = apply("tanh", apply("add", x(2), apply("mul", reset, h(2))), name="candidate")
    fresh = apply("mul", apply("sub", constant(1, update.dtype), update), candidate)
    return [apply("add", fresh, apply("mul", update, state), name="state")]


def _lstm_step(
    x: Callable[[int], Value], h: Callable[[int], Value], states: tuple[Value, ...]
) -> list[Apply]:
    cell = states[0]
    names = ("input_gate", "forget_gate", "candidate", "output_gate")
    inside = [
        apply("tanh" if i == 2 else "sigmoid", apply("add", x(i), h(i)), name=name)
        for i, name in enumerate(names)
    ]
    kept = apply("mul", inside[1], cell)
    cell = apply("add", kept, apply("mul", inside[0], inside[2]), name="cell")
    return [cell, apply("mul", inside[3], apply("tanh", cell), name="state")]


def _plain_step(
    activation: Callable[[Value], Apply],
) -> Step:
    def step(
        x: Callable[[int], Value], h: Callable[[int], Value], states: tuple[Value, ...]
    ) -> list[Apply]:
        return [activation(apply("add", x(0), h(0)))]

    return step


def _relu(value: Value) -> Apply:
    zero = constant(0, value.dtype)
    return apply("where", apply("lt", value, zero), zero, value, name="state")


GRU = Cell(3, ("h",), _gru_step, apart=True)
LSTM = Cell(4, ("c", "h"), _lstm_step)
TANH = Cell(1, ("h",), _plain_step(lambda v: apply("tanh", v, name="state")))
RELU = Cell(1, ("h",), _plain_step(_relu))


@lowers("aten.gru.input")
def _gru(context: Context, name: str, x: Operand, h0: Operand, *settings: Any) -> Any:
    """y, hn of a GRU; see torch.nn.GRU for the formula."""
    return _Recurrence(context, name, GRU, x, {"h": h0}, *settings).lower()


@lowers("aten.lstm.input")
def _lstm(context: Context, name: str, x: Operand, start: list[Operand], *settings: Any) -> Any:
    """y, hn, cn of an LSTM without projections; see torch.nn.LSTM for the formula."""
    h0, c0 = start
    if context.extent(h0.shape[2]) != context.extent(c0.shape[2]):
        raise context.unsupported(f"{name} with proj_size; project the output after it")
    return _Recurrence(context, name, LSTM, x, {"h": h0, "c": c0}, *settings).lower()


@lowers("aten.rnn_tanh.input")
def _rnn_tanh(context: Context, name: str, x: Operand, h0: Operand, *settings: Any) -> Any:
    """y, hn of a plain recurrent layer with tanh."""
    return _Recurrence(context, name, TANH, x, {"h": h0}, *settings).lower()


@lowers("aten.rnn_relu.input")
def _rnn_relu(context: Context, name: str, x: Operand, h0: Operand, *settings: Any) -> Any:
    """y, hn of a plain recurrent layer with relu."""
    return _Recurrence(context, name, RELU, x, {"h": h0}, *settings).lower()


class _Recurrence:
    """One call of a recurrent layer, lowered layer by layer and direction by direction."""

    def __init__(
        self,
        context: Context,
        name: str,
        cell: Cell,
        x: Operand,
        start: dict[str, Operand],
        parameters: Sequence[Operand],
        biases: bool,
        layers: int,
        dropout: float,
        training: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> None:
        if training and dropout:
            raise context.unsupported(f"{name} with dropout in training; use eval()")
        self.context, self.name, self.cell = context, name, cell
        self.x, self.batch_first = x, batch_first
        self.layers, self.directions = layers, 2 if bidirectional else 1
        count = Int(layers * self.directions)
        self.start = {s: replace(o, shape=(count, *o.shape[1:])) for s, o in start.items()}
        self.batch, self.time = x.shape[:2] if batch_first else (x.shape[1], x.shape[0])
        self.hidden = self._hidden_size(parameters[1].shape[1])
        self.gates = self._times(cell.gates, "GATES")
        self.width = self._times(self.directions, "WIDTH")
        self.weights = self._read(parameters, 4 if biases else 2)
        self.last: dict[str, list[Operand]] = {state: [] for state in cell.states}

    def _hidden_size(self, width: Expression) -> Expression:
        """The size of the hidden state by its name: a literal would differ between workloads."""
        given = self.start["h"].shape[2]
        named = [d for d in (given, width) if not isinstance(d, Int)]
        return named[0] if named else width

    def _times(self, count: int, wish: str) -> Expression:
        return self.hidden if count == 1 else self.context.derived(wish, self.hidden * count)

    def _read(self, parameters: Sequence[Operand], count: int) -> list[Weights]:
        """Every direction's parameters, their shapes by name."""
        found = []
        deep = self.x.shape[2]
        for first in range(0, len(parameters), count):
            layer = first // count // self.directions
            width = deep if layer == 0 else self.width
            shapes = ((self.gates, width), (self.gates, self.hidden), (self.gates,), (self.gates,))
            own = parameters[first : first + count]
            found.append(Weights(*(self._named(p, s) for p, s in zip(own, shapes, strict=False))))
        return found

    def _named(self, operand: Operand, shape: tuple[Expression, ...]) -> Operand:
        """`operand` with the shape that follows from its part in the layer."""
        extents = [self.context.extent(d) for d in shape]
        if extents != [self.context.extent(d) for d in operand.shape]:
            raise self.context.unsupported(f"{self.name}: {operand.name} is not {extents}")
        info = self.context.graph.tensors[operand.name]
        self.context.graph.tensors[operand.name] = replace(info, shape=shape)
        return replace(operand, shape=shape)

    def lower(self) -> tuple[Operand, ...]:
        """The outputs in PyTorch's order."""
        source, batch_first = self.x, self.batch_first
        for layer in range(self.layers):
            parts = [
                self._direction(source, batch_first, layer, direction)
                for direction in range(self.directions)
            ]
            last = layer == self.layers - 1
            batch_first = self.batch_first and last
            as_is = self.directions == 1 and not batch_first
            wish = f"{self.name}_y" if last else f"y_l{layer}_both"
            source = parts[0] if as_is else self._arranged(wish, parts, batch_first)
        states = reversed(self.cell.states)  # hn before cn
        return (source, *(self._stacked(state) for state in states))

    def _suffix(self, layer: int, direction: int) -> str:
        return (f"_l{layer}" if self.layers > 1 else "") + ("_reverse" if direction else "")

    def _direction(self, source: Operand, batch_first: bool, layer: int, direction: int) -> Operand:
        """One direction of a layer: the hidden state of every time step, time first."""
        context, cell, suffix = self.context, self.cell, self._suffix(layer, direction)
        number = layer * self.directions + direction
        weights = self.weights[number]
        x_gates = self._input_gates(source, batch_first, weights, suffix)
        states = {s: self._initial(s, number, suffix) for s in cell.states}
        time = self._axis("t", self.time)
        before = len(context.graph.nests)
        following = self._round(x_gates, states, weights, time, suffix)
        body = context.graph.nests[before:]
        del context.graph.nests[before:]
        y = context.fresh(f"y{suffix}")
        shape = (self.time, self.batch, self.hidden)
        context.graph.tensors[y] = TensorInfo(y, x_gates.dtype, shape, "temporary")
        context.graph.nests.append(Loop(
            name=context.fresh(f"steps{suffix}"),
            axis=time,
            body=tuple(n for n in body if isinstance(n, Nest)),
            carried=tuple((states[s].name, following[s].name) for s in cell.states),
            collected=((y, following["h"].name),),
            reverse=bool(direction),
        ))  # fmt: skip
        for state in cell.states:
            self.last[state].append(states[state])
        return Operand(y, x_gates.dtype, shape)

    def _axis(self, wish: str, extent: Expression, avoid: Sequence[Axis] = ()) -> Axis:
        taken = {a.name for a in avoid} | set(self.context.graph.tensors)
        name, count = wish, 1
        while name in taken:
            count += 1
            name = f"{wish}{count}"
        return Axis(name, extent)

    def _input_gates(
        self, source: Operand, batch_first: bool, weights: Weights, suffix: str
    ) -> Operand:
        """What the inputs of all time steps add to the gates, and every bias that may go there."""
        time = self._axis("t", self.time)
        batch = self._axis("b", self.batch, (time,))
        gate = self._axis("gate", self.gates)
        depth = self._axis("i", source.shape[2], (time, batch, gate))
        at = [Name(time.name), Name(batch.name)]
        left = source.at(*(reversed(at) if batch_first else at), Name(depth.name))
        right = weights.inputs.at(Name(gate.name), Name(depth.name))
        biases = [weights.input_bias]
        biases += [] if self.cell.apart else [weights.hidden_bias]
        axes = (time, batch, gate, replace(depth, kind="reduce"))
        return self._product(f"x_gates{suffix}", axes, apply("mul", left, right), biases)

    def _product(
        self, wish: str, axes: tuple[Axis, ...], value: Apply, biases: Sequence[Operand | None]
    ) -> Operand:
        """A product and what is added to each of its columns."""
        product = self.context.emit(wish, axes, value, "sum", tag="matmul")
        given = [b for b in biases if b is not None]
        if not given:
            return product
        total: Value = product.at(*(Name(a.name) for a in axes[:-1]))
        for bias in given:
            total = apply("add", total, bias.at(Name(axes[-2].name)))
        return self.context.emit(f"{wish}_biased", axes[:-1], total)

    def _initial(self, state: str, number: int, suffix: str) -> Operand:
        """The state before the first round, in a buffer the loop may write."""
        batch, hidden = self._state_axes()
        load = self.start[state].at(Int(number), Name(batch.name), Name(hidden.name))
        return self.context.emit(f"{state}{suffix}", (batch, hidden), load)

    def _state_axes(self) -> tuple[Axis, Axis]:
        batch = self._axis("b", self.batch)
        return batch, self._axis("k", self.hidden, (batch,))

    def _hidden_gates(self, state: Operand, weights: Weights, suffix: str) -> Operand:
        """What the hidden state adds to the gates of one time step."""
        batch, gate = self._axis("b", self.batch), self._axis("gate", self.gates)
        depth = self._axis("k", self.hidden, (batch, gate))
        left = state.at(Name(batch.name), Name(depth.name))
        value = apply("mul", left, weights.hidden.at(Name(gate.name), Name(depth.name)))
        return self._product(
            f"h_gates{suffix}", (batch, gate, replace(depth, kind="reduce")), value, []
        )

    def _gate_values(self, operand: Operand, at: tuple[Expression, ...]) -> Callable[[int], Value]:
        """One gate of all at `at`: (..., GATES) is seen as (..., number of gates, H)."""
        if self.cell.gates == 1:
            return lambda number: operand.at(*at)
        shape = (*operand.shape[:-1], Int(self.cell.gates), self.hidden)
        seen = self.context.view(operand, shape)
        return lambda number: seen.at(*at[:-1], Int(number), at[-1])

    def _round(
        self,
        x_gates: Operand,
        states: dict[str, Operand],
        weights: Weights,
        time: Axis,
        suffix: str,
    ) -> dict[str, Operand]:
        """The nests of one round; the states after it."""
        batch, hidden = self._state_axes()
        at = (Name(batch.name), Name(hidden.name))
        h_gates = self._gate_values(self._hidden_gates(states["h"], weights, suffix), at)
        bias = weights.hidden_bias if self.cell.apart else None
        if bias is not None:
            without, added = h_gates, self._gate_values(bias, at[1:])
            h_gates = lambda number: apply("add", without(number), added(number))  # noqa: E731
        made = self.cell.step(
            self._gate_values(x_gates, (Name(time.name), *at)),
            h_gates,
            tuple(states[s].at(*at) for s in self.cell.states),
        )
        following: dict[str, Operand] = {}
        for state, root in zip(self.cell.states, made, strict=True):
            value = _computed(root, made[: len(following)], list(following.values()), at)
            wish = f"{state}_next{suffix}"
            following[state] = self.context.emit(wish, (batch, hidden), value)
        return following

    def _arranged(self, wish: str, parts: list[Operand], batch_first: bool) -> Operand:
        """The directions side by side, time or batch outermost."""
        time = self._axis("t", self.time)
        batch = self._axis("b", self.batch, (time,))
        column = self._axis("k", self.width, (time, batch))
        at, k = (Name(time.name), Name(batch.name)), Name(column.name)
        value: Value = parts[0].at(*at, k)
        if len(parts) == 2:
            ahead = _guarded(parts[0].at(*at, k), k, self.hidden)
            back = _guarded(parts[1].at(*at, k - self.hidden), k - self.hidden, self.hidden)
            inside = apply("lt", IndexValue("int64", k), IndexValue("int64", self.hidden))
            value = apply("where", inside, ahead, back)
        axes = (batch, time, column) if batch_first else (time, batch, column)
        return self.context.emit(wish, axes, value)

    def _stacked(self, state: str) -> Operand:
        """The last `state` of every layer and direction."""
        parts = self.last[state]
        layer = self._axis("layer", self.start[state].shape[0])
        batch, hidden = self._state_axes()
        at = (Name(batch.name), Name(hidden.name))
        value: Value = parts[-1].at(*at)
        for number in reversed(range(len(parts) - 1)):
            own = apply("eq", IndexValue("int64", Name(layer.name)), constant(number, "int64"))
            value = apply("where", own, parts[number].at(*at), value)
        return self.context.emit(f"{state}n", (layer, batch, hidden), value)


def _guarded(load: Load, index: Expression, extent: Expression) -> Load:
    return replace(load, guard=(Bound(index, extent),), other=0.0)


def _computed(
    root: Value, done: Sequence[Value], stored: Sequence[Operand], at: tuple[Expression, ...]
) -> Value:
    """`root` with the states that were computed before it read back."""
    known = {value: operand.at(*at) for value, operand in zip(done, stored, strict=True)}
    return map_value(root, known.get)
