"""Makes the task that a person would write around a module, function or KernelBench-style file."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mkgen.codegen.template import templates
from mkgen.errors import UserError, nearest
from mkgen.explain import Observed, Unexplained, integer_text, value_text
from mkgen.foreign.inputs import Drawn
from mkgen.foreign.shrink import Shrinker
from mkgen.foreign.source import Given, Source, constructor_names, told
from mkgen.foreign.trace import Traced, traced
from mkgen.foreign.write import Argument, Written, category_of, task_text
from mkgen.frontend.context import RESERVED
from mkgen.reading import python_tree, read_text
from mkgen.task import Sizes, Task, load_source

_FLOATING = ("float64", "float32", "float16", "bfloat16")
_INTEGRAL = ("int64", "int32", "int16", "int8", "uint8", "bool")
_INPUT_GIVERS = frozenset(["get_inputs", "get_input_groups"])
_GROUP = re.compile(r"group(\d+)")
#: What is added to each size to see what follows it; the second row parts products from sums.
_STEPS = ((5, 11, 17, 23, 31, 41), (37, 7, 29, 3, 13, 19), (2, 3, 1, 7, 4, 9))


def holds_task(path: Path) -> bool:
    """Whether the file builds a `Task(...)` itself; a file that cannot be read may."""
    try:
        tree = python_tree(read_text(path, f"task file {path}"), f"task file {path}")
    except UserError:
        return True  # whoever loads it says what is wrong
    if not any(isinstance(node, ast.ClassDef | ast.FunctionDef) for node in tree.body):
        return True
    return any(
        isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "mkgen"
        or isinstance(node, ast.Import) and any(a.name.startswith("mkgen") for a in node.names)
        for node in ast.walk(tree)
    )  # fmt: skip


def gives_inputs(path: Path) -> bool:
    """Whether the file says what its model is called with, as KernelBench's files do."""
    return bool(set(Source.of(path).definitions()) & _INPUT_GIVERS)


def load_foreign(
    path: Path, wanted: str | None = None, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> tuple[Task, ...]:
    """The tasks of a file without a `Task(...)`: one for each of its sets of inputs.

    `wanted` is a class or function, or `groupN` for one set of inputs. `shapes` says what a class
    or function is called with where the file does not. UserError says what the file lacks.
    """
    source = Source.of(path)
    name, group = _target(source, wanted)
    if not set(source.definitions()) & _INPUT_GIVERS:
        if not shapes:
            raise UserError(
                f"{path} does not say what {name} is called with; give --shape INPUT=D,D for each "
                "tensor, or define get_inputs()"
            )
        return (_Builder(_Shaped(source, name, dict(shapes)), name, 0).task(),)
    learned = _Learned(source, source.integers | source.literals)
    count = len(learned.given(learned.own).groups)
    if group is not None and not 1 <= group <= count:
        raise UserError(f"{path} has {count} sets of inputs, no group{group}")
    chosen = range(count) if group is None else (group - 1,)
    return tuple(_Builder(learned, name, i, numbered=count > 1).task() for i in chosen)


def _target(source: Source, wanted: str | None) -> tuple[str, int | None]:
    """Class or function, and the number of a set of inputs. UserError."""
    known = [n for n in source.definitions() if not n.startswith(("_", "get_in"))]
    group = _GROUP.fullmatch(wanted or "")
    if wanted is not None and group is None:
        if wanted not in known:
            raise UserError(f"{source.path} has no {wanted!r}.{nearest(wanted, known)}")
        return wanted, None
    name = "Model" if "Model" in known else known[0] if len(known) == 1 else ""
    if not name:
        what = f"choose one of {', '.join(known)} with {source.path}::NAME" if known else (
            "it has no class or function either")  # fmt: skip
        raise UserError(f"task file {source.path} holds no Task(...) and no class Model; {what}")
    return name, int(group[1]) if group else None


class _Learned:
    """A file whose functions give the inputs, run under as many sizes as it takes."""

    def __init__(self, source: Source, own: Sizes) -> None:
        self.source, self.own = source, own
        self.readers = source.read_globals()
        self._given: dict[tuple[int, ...], Given] = {}

    def given(self, sizes: Sizes) -> Given:
        """What the file gives for `sizes`. UserError with the user's line when it raises."""
        key = tuple(sizes.values())
        if key not in self._given:
            try:
                self._given[key] = self.source.give(sizes, self.readers)
            except UserError:
                raise
            except Exception as error:  # a user's file may raise anything
                raise UserError(f"task file {told(self.source.path, error)}") from error
        return self._given[key]


class _Shaped(_Learned):
    """A class or function that is called with tensors of the shapes asked for."""

    def __init__(self, source: Source, name: str, shapes: dict[str, tuple[int, ...]]) -> None:
        values = sorted({d for shape in shapes.values() for d in shape if d > 1})
        letters = _letters(shapes)
        super().__init__(source, {letters[value]: value for value in values})
        self.letters, self.shapes, self.name = letters, shapes, name

    def given(self, sizes: Sizes) -> Given:
        """Tensors in the order of the arguments; an argument without a shape has its default."""
        names = _forward_names(self.source, self.name, self.own, len(self.shapes))
        unknown = sorted(set(self.shapes) - set(names))
        if unknown:
            raise UserError(
                f"--shape {unknown[0]}: {self.name} of {self.source.path} takes "
                f"{', '.join(names)}.{nearest(unknown[0], names)}"
            )
        missing = [n for n in names if n not in self.shapes]
        if missing:
            raise UserError(f"--shape: give one for {', '.join(missing)} of {self.name} too")
        drawn = tuple(
            Drawn(tuple(sizes[self.letters[d]] if d > 1 else d for d in self.shapes[n]), "float32")
            for n in names
        )
        return Given((drawn,), (), {})


def _letters(
    shapes: Mapping[str, tuple[int, ...]], taken: frozenset[str] = frozenset()
) -> dict[int, str]:
    """A name for each size that occurs: those of PyTorch's layouts, else letters in order."""
    usual = {4: "NCHW", 5: "NCDHW"}
    spare = iter([*"NMKLPQRSTUVWXYZABCDEFGH", *(f"N{i}" for i in range(2, 100))])
    found: dict[int, str] = {}
    for shape in shapes.values():
        for position, value in enumerate(shape):
            if value < 2 or value in found:
                continue
            wish = usual[len(shape)][position] if len(shape) in usual else ""
            if not wish or wish in taken.union(found.values()):
                wish = next(letter for letter in spare if letter not in taken.union(found.values()))
            found[value] = wish
    return found


def _forward_names(source: Source, name: str, sizes: Sizes, count: int) -> tuple[str, ...]:
    """Names of the arguments that are tensors: those without a default, at least `count`."""
    import inspect

    target = _object(source, name, sizes)
    call = getattr(target, "forward", target)
    parameters = list(inspect.signature(call).parameters.values())
    parameters = parameters[1:] if inspect.isclass(target) else parameters
    needed = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    if any(p.kind is p.VAR_POSITIONAL for p in needed):
        return tuple(f"x{i}" for i in range(1, count + 1))
    return tuple(p.name for p in parameters[: max(count, len(needed))])


def _object(source: Source, name: str, sizes: Sizes) -> Any:
    try:
        return getattr(source.run(sizes), name)
    except Exception as error:  # a user's file may raise anything
        raise UserError(f"task file {told(source.path, error)}") from error


class _Builder:
    """Builds the task of one set of inputs."""

    def __init__(self, learned: _Learned, name: str, group: int, *, numbered: bool = False) -> None:
        self.learned, self.source, self.target = learned, learned.source, name
        self.group, self.numbered = group, numbered
        self.fixed: set[str] = set()
        """Integers that stay as they are."""
        self.renamed = _size_names(learned, group)

    def task(self) -> Task:
        """The task, with sizes that can be checked on a CPU. UserError says what is in the way."""
        self._choices()
        self._fix_what_is_read()
        while True:
            written = self._written()
            task = self._loaded(written)
            shrinker = self._shrinker(task)
            kept = frozenset(written.sizes) - shrinker.free()
            if not kept:
                break
            # what cannot change is a number of the task, not a size: --shape then refuses it too
            self.fixed |= {old for old, new in self.renamed.items() if new in kept}
        small = shrinker.small()
        category = category_of(traced(task, task.bench).names)
        return self._loaded(
            replace(written, check=small[::2], heldout=small[1::2] or small, category=category)
        )

    def _shrinker(self, task: Task) -> Shrinker:
        def trial(sizes: Sizes) -> Traced | None:
            try:
                return traced(task, sizes)
            except Exception as error:  # the user's reference may raise anything
                if sizes == task.bench:
                    raise UserError(
                        f"the reference fails: {told(self.source.path, error)}"
                    ) from error
                return None

        return Shrinker(dict(task.bench), trial)

    def _choices(self) -> None:
        """Sizes to learn from: the file's own, and others for all of its integers at once."""
        own = self.learned.own
        self.sizes: list[Sizes] = [dict(own)]
        first = self.learned.given(own)
        for steps in _STEPS:
            changed = {n: v + steps[i % len(steps)] + i for i, (n, v) in enumerate(own.items())}
            try:
                given = self.learned.given(changed)
            except UserError:
                continue
            if len(given.groups) == len(first.groups):
                self.sizes.append(changed)

    def _fix_what_is_read(self) -> None:
        """Integers that the module's own code reads are part of the program."""
        own = self.learned.own
        before = self.learned.given(own).constants
        for name in own if before else ():
            try:
                after = self.learned.given(own | {name: own[name] + 1}).constants
            except UserError:
                self.fixed.add(name)
                continue
            # what is made anew each time, an object or a tensor, cannot be compared
            plain = (int, float, str, tuple, list)
            if any(isinstance(v, plain) and v != after[k] for k, v in before.items()):
                self.fixed.add(name)

    def _observed(self, pick: Any) -> Observed:
        """A value under those choices in which fixed integers have their own numbers."""
        own = self.learned.own
        chosen = [{n: own[n] if n in self.fixed else v for n, v in s.items()} for s in self.sizes]
        values, sizes = [], []
        for choice in chosen:
            try:
                values.append(pick(self.learned.given(choice)))
            except UserError:
                if choice == own:
                    raise
                continue
            sizes.append({self.renamed[n]: v for n, v in choice.items()})
        return Observed(sizes, values)

    def _explained(self, pick: Any, text: Any) -> str:
        """`text(observed, names)`; integers that it follows in no such way become fixed."""
        while True:
            names = [new for old, new in self.renamed.items() if old not in self.fixed]
            try:
                return str(text(self._observed(pick), names))
            except Unexplained:
                self._fix_influences(pick)

    def _fix_influences(self, pick: Any) -> None:
        own = self.learned.own
        before = pick(self.learned.given(own))
        found = set()
        for name in own.keys() - self.fixed:
            try:
                after = pick(self.learned.given(own | {name: own[name] + 1}))
            except UserError:
                after = None
            if after != before:
                found.add(name)
        # a value that only a larger step changes: everything that is left
        self.fixed |= found or own.keys()

    def _written(self) -> Written:
        while True:
            before = set(self.fixed)
            inputs, numbers = self._arguments()
            init = self._init()
            if before == self.fixed:
                break
        texts = [d for a in inputs for d in (a.shape, a.low, a.high)] + list(init.values())
        used = dict.fromkeys(n for text in texts for n in re.findall(r"[A-Z_]\w*", text))
        own = {self.renamed[n]: v for n, v in self.learned.own.items() if n not in self.fixed}
        sizes = {n: own[n] for n in used if n in own}
        return Written(
            name=self._name(), target=self.target, inputs=inputs, numbers=numbers, init=init,
            sizes=sizes, is_class=self._is_class(), source=self.source.text,
        )  # fmt: skip

    def _is_class(self) -> bool:
        return isinstance(_object(self.source, self.target, self.learned.own), type)

    def _name(self) -> str:
        stem = re.sub(r"\W+", "_", self.source.path.stem).strip("_").lower()
        stem = re.sub(r"^[\d_]+", "", stem) or "model"
        if self.target not in ("Model", self.source.path.stem):
            stem = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", self.target).lower().strip("_")
        return f"{stem}_group{self.group + 1}" if self.numbered else stem

    def _arguments(self) -> tuple[tuple[Argument, ...], dict[int, str]]:
        """The tensors in order, and by position the numbers between them."""
        group = self.group
        first = self.learned.given(self.learned.own).groups[group]
        count = len(first)
        names = _forward_names(self.source, self.target, self.learned.own, count)
        if len(names) < count:
            raise UserError(
                f"{self.source.path}: {self.target} takes {len(names)} inputs, but get_inputs "
                f"gives {count}"
            )
        tensors: list[Argument] = []
        numbers: dict[int, str] = {}
        for i, (name, value) in enumerate(zip(names, first, strict=False)):
            if isinstance(value, Drawn):
                tensors.append(self._tensor(self._input_name(name), i, value))
            elif value is None or isinstance(value, bool | int | float | str):
                numbers[i] = self._explained(
                    lambda given, i=i: given.groups[group][i], lambda seen, _: _constant(seen)
                )
            else:
                raise UserError(
                    f"{self.source.path}: the input {name} is a {type(value).__name__}; inputs are "
                    "tensors and plain numbers"
                )
        if not tensors:
            raise UserError(f"{self.source.path}: get_inputs gives no tensor")
        return tuple(tensors), numbers

    def _input_name(self, name: str) -> str:
        return f"{name}_in" if name in RESERVED else name

    def _tensor(self, name: str, position: int, drawn: Drawn) -> Argument:
        group = self.group
        if drawn.dtype not in _FLOATING + _INTEGRAL:
            known = ", ".join(_FLOATING + _INTEGRAL)
            raise UserError(
                f"{self.source.path}: the input {name} is {drawn.dtype}; mkgen has {known}"
            )

        def bound(field: str) -> Any:
            return lambda given: getattr(given.groups[group][position], field)

        self._explained(bound("shape"), lambda seen, _: _same_rank(seen))
        dimensions = [
            self._explained(
                lambda given, axis=axis: given.groups[group][position].shape[axis], integer_text
            )
            for axis in range(len(drawn.shape))
        ]
        low, high = (self._explained(bound(f), integer_text) for f in ("low", "high"))
        for field in ("scale", "shift"):
            self._explained(bound(field), lambda seen, _: _constant(seen))
        return Argument(name, ", ".join(dimensions), replace(drawn), low, high)

    def _init(self) -> dict[str, str]:
        first = self.learned.given(self.learned.own).init
        where = f"{self.target} of {self.source.path}"
        target = _object(self.source, self.target, self.learned.own)
        if not isinstance(target, type):
            if first:
                raise UserError(f"{where} is a function; get_init_inputs has nobody to serve")
            return {}
        names = constructor_names(target, len(first), where)
        try:
            return {
                name: self._explained(lambda given, i=i: given.init[i], value_text)
                for i, name in enumerate(names)
            }
        except TypeError as error:
            raise UserError(
                f"{where} is constructed with a {error}; mkgen takes numbers, strings and tuples"
            ) from None

    def _loaded(self, written: Written) -> Task:
        text = task_text(written)
        return load_source(text, self.source.path, written.name)


def _constant(seen: Observed) -> str:
    if any(v != seen.values[0] for v in seen.values):
        raise Unexplained(repr(seen.values[0]))
    return repr(seen.values[0])


def _same_rank(seen: Observed) -> str:
    return _constant(Observed(seen.sizes, [len(v) for v in seen.values]))


def _size_names(learned: _Learned, group: int) -> dict[str, str]:
    """The user's names in capitals; for numbers without a name those of the layout, or letters."""
    parameters = {p for t in templates() for p in t.spec.parameters}
    found: dict[str, str] = {}
    for name in learned.own:
        wish = name.upper().strip("_")
        if not _is_literal(name):
            found[name] = f"{wish}_SIZE" if wish in parameters else wish
    values = {v: n for n, v in learned.own.items() if _is_literal(n)}
    shapes = {
        str(i): tuple(d for d in drawn.shape)
        for i, drawn in enumerate(learned.given(learned.own).groups[group])
        if isinstance(drawn, Drawn)
    }
    rest = {"rest": tuple(values)}
    letters = _letters(shapes | rest, frozenset(found.values()))
    return found | {name: letters[value] for value, name in values.items()}


def _is_literal(name: str) -> bool:
    return name.startswith("_") and name[1:].isdigit()
