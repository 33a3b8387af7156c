"""Tasks: a PyTorch reference and one `Task(...)`, in a Python file."""

from __future__ import annotations

import ast
import copy
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import ConfigDict, Field, ValidationError, model_validator

from mkgen.document import Document, content_hash
from mkgen.errors import UserError, nearest
from mkgen.expression import evaluate, names, parse
from mkgen.importing import GivenLoader
from mkgen.program import Dtype, PrecisionClass
from mkgen.reading import module_tree, python_expression, read_text
from mkgen.share import share_root

CATEGORIES = (
    "activation", "arch", "attention", "broadcast", "convolution", "fuse", "index", "loss", "math",
    "matmul", "normalization", "optimizer", "pooling", "reduce", "resize",
)  # fmt: skip

Sizes = dict[str, int]

_MAX_ARGUMENT = 2000


class Tensor(Document):
    """One input: `Tensor("N, C, H, W")`. Dimensions are names or expressions over names."""

    shape: str
    dtype: Dtype = "float32"
    distribution: Literal["normal", "uniform", "integers", "distinct"] = "normal"
    """normal: mean 0, deviation 1; uniform and integers: in [low, high); distinct: integers in
    [low, high), none of them twice."""
    low: int | str = 0
    high: int | str = 1
    """Bounds of uniform and integers; a string is an expression over the sizes."""
    scale: float | str = 1.0
    """Factor of normal and uniform values; a string is an expression over the sizes."""
    shift: float | str = 0.0
    """Added to normal and uniform values after `scale`; as `scale`."""

    def __init__(self, shape: str, dtype: Dtype = "float32", **settings: Any) -> None:
        values: dict[str, Any] = {"shape": shape, "dtype": dtype, **settings}
        super().__init__(**values)

    def dimensions(self) -> tuple[str, ...]:
        """The dimensions as written: `("N", "C", "2 * H")`; empty for a scalar."""
        return tuple(part.strip() for part in self.shape.split(",") if part.strip())

    def resolve(self, sizes: Sizes) -> tuple[int, ...]:
        """The shape for `sizes`. UserError for an unknown name."""
        return tuple(evaluate(parse(d), sizes) for d in self.dimensions())

    def symbols(self) -> frozenset[str]:
        """The names of sizes the shape is written in."""
        return frozenset().union(*(names(parse(d)) for d in self.dimensions()), frozenset())


class Workload(Document):
    """Concrete sizes. `heldout` ones are never shown to a generator."""

    name: str
    role: Literal["bench", "check", "heldout", "user", "thin"]
    """thin: made of check sizes, with an axis of one element or of none."""
    sizes: Sizes


class Task(Document):
    """What to compute.

    `reference` is a plain function over the inputs, an `nn.Module`, or a module class whose
    constructor arguments are `init`: values, or strings that are read for the sizes, as
    `argument` does.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    category: str
    reference: Callable[..., Any] = Field(exclude=True)
    inputs: dict[str, Tensor]
    init: dict[str, Any] = {}
    bench: Sizes
    check: tuple[Sizes, ...]
    heldout: tuple[Sizes, ...]
    precision: PrecisionClass = PrecisionClass.STRICT
    parameter_dtype: Dtype | None = None
    """What the parameters and floating buffers of a module are converted to; None: as made."""
    source: str = ""
    """Text of the file the task was loaded from; part of its hash."""
    path: str = Field(default="", exclude=True)

    @model_validator(mode="after")
    def _consistent(self) -> Task:
        if self.category not in CATEGORIES:
            raise ValueError(f"no category {self.category!r}.{nearest(self.category, CATEGORIES)}")
        needed = frozenset().union(*(t.symbols() for t in self.inputs.values()), frozenset())
        for workload in self.workloads():
            missing = needed - workload.sizes.keys()
            if missing:
                raise ValueError(f"workload {workload.name} gives no size for {sorted(missing)}")
            if any(value < 0 for value in workload.sizes.values()):
                raise ValueError(f"workload {workload.name} has a negative size")
        return self

    def workloads(self) -> tuple[Workload, ...]:
        """bench, check1…, heldout1…."""
        return (
            Workload(name="bench", role="bench", sizes=self.bench),
            *(
                Workload(name=f"check{i}", role="check", sizes=s)
                for i, s in enumerate(self.check, 1)
            ),
            *(
                Workload(name=f"heldout{i}", role="heldout", sizes=s)
                for i, s in enumerate(self.heldout, 1)
            ),
        )

    @property
    def hash(self) -> str:
        """SHA-256 of everything that decides what is computed and on what it is judged."""
        return content_hash(self.canonical_json())

    @property
    def title(self) -> str:
        """The first line of the file's docstring, else the name."""
        try:
            text = ast.get_docstring(module_tree(self.source)) or self.name
        except SyntaxError:
            text = self.name
        return text.strip().splitlines()[0]

    def module(self, sizes: Sizes) -> Callable[..., Any]:
        """The callable to run for `sizes`; a module class is constructed under a fixed seed."""
        import torch

        made = self.reference
        if inspect.isclass(self.reference):
            constructor = cast(Callable[..., Callable[..., Any]], self.reference)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                made = constructor(**self.arguments(sizes))
        if self.parameter_dtype is None or not isinstance(made, torch.nn.Module):
            return made
        # one that the file made itself stays as it is
        own = made if inspect.isclass(self.reference) else copy.deepcopy(made)
        return own.to(getattr(torch, self.parameter_dtype))

    def arguments(self, sizes: Sizes) -> dict[str, Any]:
        """What a module class is constructed with, for `sizes`."""
        return {
            key: argument(value, sizes) if isinstance(value, str) else value
            for key, value in self.init.items()
        }


def argument(text: str, sizes: Sizes) -> Any:
    """The constructor argument written as `text`: an expression over the sizes, `"DIM // 2"`.

    Or a tuple or list of such, `"(K, 1, 1)"`, or a literal, `"'zeros'"`. UserError otherwise.
    """
    if len(text) > _MAX_ARGUMENT:
        raise UserError(f"an argument of {len(text)} characters; {_MAX_ARGUMENT} are allowed")
    node = python_expression(text, f"cannot read the argument {text[:80]!r}")
    return _argument(node, text.strip(), sizes)  # positions are those of the stripped text


def _argument(node: ast.expr, text: str, sizes: Sizes) -> Any:
    if isinstance(node, ast.Tuple | ast.List):
        parts = [_argument(element, text, sizes) for element in node.elts]
        return tuple(parts) if isinstance(node, ast.Tuple) else parts
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, OverflowError):  # no literal; `{[]: 1}`; `10**400 + 1j` in full
        return evaluate(parse(ast.get_source_segment(text, node) or ""), sizes)


def task_files() -> dict[str, Path]:
    """Name -> file of every task that ships with mkgen: `tasks/CATEGORY/NAME.py`."""
    return {path.stem: path for path in sorted(share_root("tasks").glob("*/*.py"))}


def find_task(name: str) -> Task:
    """The task called `name`, or in `file.py` or `file.py::task_name`. UserError if none."""
    path_text, _, wanted = name.partition("::")
    if path_text.endswith(".py"):
        return load_task(Path(path_text), wanted or None)
    known = task_files()
    if name not in known:
        raise UserError(f"no task {name!r}.{nearest(name, known)} (mkgen tasks lists them)")
    return load_task(known[name])


def load_task(path: Path, wanted: str | None = None) -> Task:
    """The one `Task` of the Python file `path`. UserError names file, line and remedy."""
    source = read_text(path, f"task file {path}")
    module_name = f"_mkgen_task_{content_hash(str(path.resolve()), source)[:16]}"
    if module_name not in sys.modules:
        _import(path, module_name)
    found = [v for v in vars(sys.modules[module_name]).values() if isinstance(v, Task)]
    if wanted is not None:
        found = [t for t in found if t.name == wanted]
    if len(found) != 1:
        what = "no Task(...)" if not found else f"{len(found)} tasks; choose one with {path}::NAME"
        raise UserError(f"task file {path} holds {what}")
    return found[0].model_copy(update={"source": source, "path": str(path)})


def load_source(text: str, path: Path, name: str) -> Task:
    """The task called `name` in `text`, which begins as the file `path` does. UserError."""
    module_name = f"_mkgen_task_{content_hash(str(path.resolve()), text)[:16]}"
    if module_name not in sys.modules:
        _import(path, module_name, GivenLoader(text, path))
    found = [v for v in vars(sys.modules[module_name]).values() if isinstance(v, Task)]
    (task,) = (t for t in found if t.name == name)
    return task.model_copy(update={"source": text, "path": str(path)})


def _import(path: Path, module_name: str, loader: GivenLoader | None = None) -> None:
    """Imports the task file; UserError names file and line, and the module is forgotten."""
    spec = importlib.util.spec_from_file_location(module_name, path, loader=loader)
    if spec is None or spec.loader is None:
        raise UserError(f"task file {path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[module_name]
        if isinstance(error, KeyboardInterrupt):
            raise
        if isinstance(error, ValidationError):
            details = "; ".join(
                f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()
            )
            raise UserError(f"task file {path}: {details}") from error
        if isinstance(error, SyntaxError):
            raise UserError(f"task file {path}, line {error.lineno}: {error.msg}") from error
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        line = f", line {frames[-1].lineno}" if frames else ""
        raise UserError(f"task file {path}{line}: {type(error).__name__}: {error}") from error
