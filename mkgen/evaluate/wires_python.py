"""What trips the wires in a Python text: its syntax tree, never what comments and strings say."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mkgen.evaluate import torch_names
from mkgen.reading import module_tree

Finding = tuple[int, str]
"""(line, what it is)."""

#: Modules that a kernel's file may import; with them their submodules.
_MODULES = frozenset(
    ("__future__", "abc", "collections", "contextlib", "copy", "dataclasses", "einops", "enum",
     "functools", "itertools", "jax", "logging", "math", "ml_dtypes", "numbers", "numpy",
     "operator", "os", "sys", "textwrap", "torch", "triton", "typing", "typing_extensions",
     "warnings")
)  # fmt: skip
#: Of modules that may be imported, what is not a kernel's business: dotted beginnings.
_FORBIDDEN = (
    *torch_names.FORBIDDEN,
    ("numpy.load", "reads a file"),
    ("numpy.save", "writes a file"),
    ("numpy.fromfile", "reads a file"),
    ("numpy.memmap", "reads a file"),
    ("numpy.ctypeslib", "loads a native library"),
    ("sys.modules", "replaces modules"),
    ("sys.settrace", "watches its caller"),
    ("sys.setprofile", "watches its caller"),
    ("sys._", "walks frames"),
    ("sys.path", "changes where modules come from"),
    ("sys.meta_path", "changes where modules come from"),
    ("sys.exit", "ends the process"),
    ("jax.ffi", "loads a native library"),
    ("jax.pure_callback", "computes outside the kernel"),
    ("jax.experimental.io_callback", "computes outside the kernel"),
)
#: Of `os` the environment and paths of names; nothing that acts.
_OS = ("os.environ", "os.getenv", "os.path.join", "os.path.dirname", "os.path.basename")
_BUILTINS = {
    "exec": "runs text as code", "eval": "runs text as code", "compile": "makes code of text",
    "__import__": "imports by a computed name", "open": "opens a file", "input": "reads stdin",
    "globals": "reaches names by text", "locals": "reaches names by text",
    "vars": "reaches names by text", "breakpoint": "stops the process", "exit": "ends the process",
    "quit": "ends the process", "memoryview": "reaches memory",
}  # fmt: skip
#: What has names of its own.
_SCOPES = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, ast.ListComp, ast.SetComp,
    ast.DictComp, ast.GeneratorExp,
)  # fmt: skip
#: Attributes by which code leaves the objects it was given.
_INSIDE = frozenset(
    ("__subclasses__", "__globals__", "__code__", "__builtins__", "__mro__", "__bases__",
     "__closure__", "__loader__", "__spec__", "f_back", "f_globals", "f_locals", "gi_frame",
     "tb_frame", "cr_frame", "__reduce__", "__reduce_ex__", "__getattribute__", "_cdata")
)  # fmt: skip
_OVERRIDES = frozenset(("__torch_function__", "__torch_dispatch__", "__del__", "__class_getitem__"))

#: Of jax, beside `lax` control flow and what shapes an array: what a caller of kernels needs.
_JAX = frozenset(
    ("asarray", "array", "zeros", "zeros_like", "ones", "ones_like", "full", "full_like", "empty",
     "empty_like", "reshape", "transpose", "pad", "broadcast_to", "swapaxes", "moveaxis", "squeeze",
     "expand_dims", "tile", "concatenate", "stack", "split", "ravel", "jit", "named_scope", "vmap",
     "ShapeDtypeStruct", "Array", "scan", "fori_loop", "cond", "bitcast_convert_type", "dtype",
     "arange", "iinfo", "finfo", "convert_element_type", "slice", "dynamic_slice", "custom_vjp",
     "custom_jvp", "device_put", "astype", "broadcast_shapes", "result_type", "issubdtype")
)  # fmt: skip
#: Methods of arrays that compute what a task asks for.
_METHODS = frozenset(
    ("matmul", "mm", "bmm", "mv", "dot", "addmm", "addbmm", "baddbmm", "softmax", "log_softmax",
     "relu", "relu_", "sigmoid", "sigmoid_", "tanh", "tanh_", "exp", "exp_", "log", "log_", "sqrt",
     "rsqrt", "pow", "add", "add_", "sub", "mul", "mul_", "div", "div_", "sum", "mean", "max",
     "min", "amax", "amin", "prod", "std", "var", "norm", "cumsum", "cumprod", "argmax", "argmin",
     "sort", "topk", "gather", "scatter", "scatter_", "scatter_add", "scatter_add_", "index_select",
     "index_add", "index_add_", "masked_fill", "masked_fill_", "where", "clamp", "clamp_", "abs",
     "logsumexp", "addcmul", "addcdiv", "lerp", "einsum", "erf", "gelu", "silu", "numpy", "tolist",
     "item", "cpu")
)  # fmt: skip
_LAUNCH_DECORATORS = ("triton.jit", "triton.autotune", "triton.heuristics")


@dataclass
class _Names:
    """What the names of a text stand for: `F` -> `torch.nn.functional`."""

    modules: dict[str, str] = field(default_factory=dict)
    local: set[ast.AST] = field(default_factory=set)
    """Uses of a builtin's name that mean a variable: `input` in `def linear(input, weight)`."""

    def dotted(self, node: ast.expr) -> str:
        """`torch.nn.functional.relu` for `F.relu`; empty when its root is no module."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.modules:
            return ""
        return ".".join((self.modules[node.id], *reversed(parts)))


def findings(text: str, *, allow_library: bool) -> Iterator[Finding]:
    """(line, what it is) of everything in `text` that no kernel of its own needs."""
    try:
        tree = module_tree(text)
    except (SyntaxError, ValueError) as error:
        yield getattr(error, "lineno", None) or 1, f"no Python: {error.args[0]}"
        return
    except (RecursionError, MemoryError):
        yield 1, "nested too deeply to be read"
        return
    names = _Names()
    nodes = list(ast.walk(tree))
    for node in nodes:
        yield from _imports(node, names)
    names.local = _local(nodes)
    device = _device_code(tree, names)
    for node in nodes:
        yield from _reaching(node, names)
        yield from _patching(node, names)
        if isinstance(node, ast.ClassDef):
            yield from _class(node, names)
    for function in nodes:
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _fallbacks(function)
    if not allow_library:
        layers = _layers(nodes, names)
        for node in _outside(tree, device):
            yield from _library(node, names, layers)


def embedded(text: str, marks: tuple[str, ...]) -> list[tuple[int, str]]:
    """(line, text) of every string constant of `text` that is a text of the C family.

    `marks` are words that such texts have, beside what every C++ text may say.
    """
    try:
        tree = module_tree(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and any(mark in node.value for mark in ("#include", "torch::", *marks))
    ]


def _local(nodes: list[ast.AST]) -> set[ast.AST]:
    """The names in bodies of functions that mean their parameters or variables, not a builtin.

    Defaults and decorators are no part of a body: what comes in by them is looked at where it is.
    Nor is a class within: a name that its body sets reads as the builtin until then.
    """
    shared = {name for node in nodes if isinstance(node, ast.Global) for name in node.names}
    found: set[ast.AST] = set()
    for node in nodes:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        body: list[ast.AST] = [*node.body] if isinstance(node.body, list) else [node.body]
        own = (_given(node.args) | _assigned(body)) & _BUILTINS.keys() - shared
        if own:
            inside = _beneath(body, ast.ClassDef)
            found.update(n for n in inside if isinstance(n, ast.Name) and n.id in own)
    return found


def _given(a: ast.arguments) -> set[str]:
    every = (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg)
    return {each.arg for each in every if each is not None}


def _assigned(body: list[ast.AST]) -> set[str]:
    """Names that are set in `body` itself, not in a function, class or comprehension within."""
    names = (n for n in _beneath(body, *_SCOPES) if isinstance(n, ast.Name))
    return {n.id for n in names if not isinstance(n.ctx, ast.Load)}


def _beneath(body: list[ast.AST], *closed: type[ast.AST]) -> Iterator[ast.AST]:
    """Every node of `body`; of the types `closed` only itself."""
    rest = list(body)
    while rest:
        node = rest.pop()
        yield node
        if not isinstance(node, closed):
            rest.extend(ast.iter_child_nodes(node))


def _imports(node: ast.AST, names: _Names) -> Iterator[Finding]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            root = alias.name.partition(".")[0]
            names.modules[alias.asname or root] = alias.name if alias.asname else root
            yield from _import(node.lineno, alias.name)
    elif isinstance(node, ast.ImportFrom):
        if node.level or node.module is None:
            yield node.lineno, "imports a file beside it; a kernel is one file"
            return
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            names.modules[alias.asname or alias.name] = whole
            if alias.name == "*":
                yield node.lineno, f"import of everything in {node.module}"
        yield from _import(node.lineno, node.module)


def _import(line: int, module: str) -> Iterator[Finding]:
    if module.partition(".")[0] not in _MODULES:
        yield line, f"import of {module[:60]}, which is not on the list"


def _reaching(node: ast.AST, names: _Names) -> Iterator[Finding]:
    """Names and attributes that lead out of the kernel."""
    if isinstance(node, ast.Name):
        own = node.id in names.modules or node in names.local
        if node.id in _BUILTINS and not own:
            yield node.lineno, f"{node.id}: {_BUILTINS[node.id]}"
        elif node.id in ("__builtins__", "__loader__", "__spec__"):
            yield node.lineno, f"{node.id}: reaches the interpreter"
        elif node.id == "Model":
            yield node.lineno, "Model, the reference's class"
    if isinstance(node, ast.Attribute) and node.attr in _INSIDE:
        yield node.lineno, f"{node.attr}: reaches the interpreter"
    if isinstance(node, ast.Name | ast.Attribute):
        dotted = names.dotted(node)
        reason = next((why for start, why in _FORBIDDEN if _begins(dotted, start)), "")
        if reason:
            yield node.lineno, f"{dotted}: {reason}"
        if dotted.startswith("os.") and not any(
            _begins(dotted, allowed) or _begins(allowed, dotted) for allowed in _OS
        ):
            yield node.lineno, f"{dotted}, a function of the system"
    if isinstance(node, ast.Call):
        yield from _by_text(node, names)


def _begins(dotted: str, start: str) -> bool:
    if start.endswith("_"):
        return dotted.startswith(start)
    return dotted == start or dotted.startswith(f"{start}.")


def _by_text(call: ast.Call, names: _Names) -> Iterator[Finding]:
    """`getattr` with a name that is made at run time, or a module's."""
    if not (isinstance(call.func, ast.Name) and call.func.id in ("getattr", "setattr", "delattr")):
        return
    literal = len(call.args) > 1 and isinstance(call.args[1], ast.Constant)
    module = bool(call.args) and names.dotted(call.args[0]) != ""
    if call.func.id != "getattr" and module:
        yield call.lineno, f"{call.func.id} on a module: others use it too"
    elif not literal:
        yield call.lineno, f"{call.func.id} with a computed name"
    elif module:
        yield call.lineno, f"{call.func.id} on a module; write the name"


def _patching(node: ast.AST, names: _Names) -> Iterator[Finding]:
    """Assignments to what belongs to a module, or to an object's class."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.Delete):
        targets = list(node.targets)
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets = [node.target]
    while targets:
        target = targets.pop()
        if isinstance(target, ast.Tuple | ast.List):
            targets += target.elts
            continue
        if isinstance(target, ast.Starred | ast.Subscript):
            subscript = isinstance(target, ast.Subscript)
            target = target.value
            if subscript and names.dotted(target) == "os.environ":
                continue
        if isinstance(target, ast.Attribute):
            dotted = names.dotted(target)
            if dotted:
                yield node_line(target), f"assigns to {dotted}: others use it too"
            elif target.attr in ("__class__", "__dict__", "forward", "__call__"):
                yield node_line(target), f"assigns to {target.attr} of an object"


def node_line(node: ast.AST) -> int:
    """The line of a node that has one."""
    return int(getattr(node, "lineno", 1))


def _class(node: ast.ClassDef, names: _Names) -> Iterator[Finding]:
    for base in node.bases:
        if names.dotted(base) in ("torch.Tensor", "torch.nn.Parameter"):
            yield node.lineno, f"class {node.name} poses as a tensor"
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name in _OVERRIDES:
            yield statement.lineno, f"{statement.name}: acts when nobody calls it"


def _fallbacks(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Finding]:
    """`try` inside a function whose handler goes on as if nothing had happened."""
    for node in ast.walk(function):
        if not isinstance(node, ast.Try | ast.TryStar):
            continue
        for handler in node.handlers:
            if not any(isinstance(inner, ast.Raise) for inner in ast.walk(handler)):
                yield handler.lineno, "goes another way when the kernel fails"


def _device_code(tree: ast.Module, names: _Names) -> set[ast.AST]:
    """Functions whose bodies are kernels, or are called by them."""
    functions = {
        node.name: node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    waiting: list[ast.AST] = []
    for function in functions.values():
        decorated = [d.func if isinstance(d, ast.Call) else d for d in function.decorator_list]
        if any(names.dotted(d) in _LAUNCH_DECORATORS for d in decorated):
            waiting.append(function)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _last(node.func) == "pallas_call":
            given = [*node.args[:1], *(k.value for k in node.keywords if k.arg == "kernel")]
            waiting += [n for g in given for n in _functions_in(g, functions)]
        if isinstance(node, ast.Call) and _last(node.func) == "BlockSpec":
            # an index map computes positions, not values
            given = [*node.args, *(k.value for k in node.keywords)]
            waiting += [n for g in given for n in _functions_in(g, functions)]
    found: set[ast.AST] = set()
    while waiting:
        function_node = waiting.pop()
        if function_node in found:
            continue
        found.add(function_node)
        for node in ast.walk(function_node):
            if isinstance(node, ast.Name) and node.id in functions:
                waiting.append(functions[node.id])
    return found


def _functions_in(
    node: ast.expr, functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef]
) -> Iterator[ast.AST]:
    """The kernel that is passed: by name, as a lambda, or through functools.partial."""
    if isinstance(node, ast.Lambda):
        yield node
    elif isinstance(node, ast.Name) and node.id in functions:
        yield functions[node.id]
    elif isinstance(node, ast.Call) and _last(node.func) in ("partial", "jit"):
        for argument in node.args[:1]:
            yield from _functions_in(argument, functions)


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _outside(tree: ast.Module, device: set[ast.AST]) -> Iterator[ast.AST]:
    """Every node but those of kernels."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if node not in device:
            yield node
            waiting += ast.iter_child_nodes(node)


def _layers(nodes: list[ast.AST], names: _Names) -> set[str]:
    """Attributes that hold a layer of the library: `self.conv = nn.Conv2d(…)`."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            made = names.dotted(node.value.func)
            holds = made.startswith("torch.nn.") and made not in ("torch.nn.Parameter",)
            found |= {t.attr for t in node.targets if isinstance(t, ast.Attribute) and holds}
    return found


def _library(node: ast.AST, names: _Names, layers: set[str]) -> Iterator[Finding]:
    """Operations of a library that compute, outside kernels."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        yield node.lineno, "@, a product that the library computes"
    if not isinstance(node, ast.Call):
        return
    function = node.func
    dotted = names.dotted(function)
    if dotted:
        yield from _called(node.lineno, dotted)
    elif isinstance(function, ast.Attribute):
        own = isinstance(function.value, ast.Name) and function.value.id == "self"
        if own and function.attr in layers:
            yield node.lineno, f"self.{function.attr}(…), a layer of the library"
        elif not own and function.attr in _METHODS:
            yield node.lineno, f".{function.attr}(), which the library computes"


def _called(line: int, dotted: str) -> Iterator[Finding]:
    root, last = dotted.partition(".")[0], dotted.rpartition(".")[2]
    allowed: dict[str, Callable[[], bool]] = {
        "torch": lambda: (
            any(_begins(dotted, start) for start in torch_names.MODULES)
            or (dotted.count(".") == 1 and last in torch_names.FUNCTIONS)
            # a layer may hold parameters; calling it is another matter
            or (dotted.startswith("torch.nn.") and dotted.count(".") == 2 and last[:1].isupper())
        ),
        "jax": lambda: last in _JAX or ".pallas" in dotted or ".debug." in dotted,
        "numpy": lambda: last.startswith(("int", "uint", "float", "bool", "dtype", "prod", "ceil")),
        "einops": lambda: last in ("rearrange", "repeat"),
        "operator": lambda: True,
    }
    if root in allowed and not allowed[root]():
        yield line, f"{dotted}, which the library computes"
