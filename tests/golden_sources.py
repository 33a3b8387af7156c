"""Golden sources: the text of some tasks on every backend, at pinned parameters.

They are few enough to be read, and between them show every template and every kind of launcher.

`tests/golden/parameters.json` pins templates and parameters, so that a change of the cost model
moves no text. The head comment is left out: it tells the target and the evidence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mkgen.codegen.candidate import TemplateCandidate
from mkgen.codegen.template import templates
from mkgen.files import atomic_write
from tests.matrix_support import BACKENDS, best_by_estimate, default_target, generator

ROOT = Path(__file__).resolve().parent / "golden"
PARAMETERS = ROOT / "parameters.json"

#: The tasks whose sources are pinned.
GOLDEN_TASKS = (
    "relu", "bias_gelu", "conv2d", "conv2d_bias_relu", "linear_relu", "embedding", "matmul",
    "layer_norm", "softmax", "max_pool2d", "argmax", "sum_reduce",
    "cumsum", "conv_transpose3d", "grouped_conv2d", "depthwise_conv2d", "bilinear_resize",
    "index_add_duplicates", "causal_attention_fp16", "gru_2layer", "conv2d_bn_train_relu",
    "cross_entropy", "adam", "transformer_block",
)  # fmt: skip

#: Per backend and task, one (template, parameters) for each kernel.
Pins = dict[str, dict[str, list[dict[str, Any]]]]


def pinned() -> Pins:
    """The choices in `parameters.json`."""
    pins: Pins = json.loads(PARAMETERS.read_text())
    return pins


def candidate(task: str, backend: str, pins: Pins) -> TemplateCandidate:
    """The candidate that `pins` name."""
    made = generator(task, default_target(backend))
    by_name = {t.name: t for t in templates()}
    chosen = pins[backend][task]
    return made.candidate(
        tuple(by_name[c["template"]] for c in chosen), [c["parameters"] for c in chosen]
    )


def sources(task: str, backend: str, pins: Pins) -> Iterator[tuple[Path, str]]:
    """(file, text) of every source of the program at the bench sizes."""
    program = candidate(task, backend, pins).program(
        generator(task, default_target(backend)).workload
    )
    for source in program.sources:
        text = source.preamble + source.sizes + source.body
        yield ROOT / backend / source.name, text.lstrip("\n")


def choose_anew() -> Pins:
    """The best by the model's estimate before anything is compiled."""
    pins: Pins = {}
    for backend in BACKENDS:
        pins[backend] = {}
        for task in GOLDEN_TASKS:
            best = best_by_estimate(generator(task, default_target(backend)))
            request = best.request
            pins[backend][task] = [
                {"template": template.name, "parameters": own}
                for template, own in zip(request.templates, _own(best), strict=True)
            ]
    return pins


def _own(best: TemplateCandidate) -> list[dict[str, Any]]:
    from mkgen.codegen.render import parameter_prefix

    request = best.request
    prefixes = [parameter_prefix(request.kernels, k) for k in request.kernels]
    return [
        {k.removeprefix(p): v for k, v in request.parameters.items() if k.startswith(p)}
        for p in prefixes
    ]


def main(arguments: Sequence[str]) -> int:
    """Rewrites the golden files; with `--parameters` the pinned choices first."""
    if "--parameters" in arguments or not PARAMETERS.exists():
        atomic_write(PARAMETERS, json.dumps(choose_anew(), indent=1) + "\n")
    pins = pinned()
    written = set()
    for backend in BACKENDS:
        for task in GOLDEN_TASKS:
            for path, text in sources(task, backend, pins):
                atomic_write(path, text)
                written.add(path)
    for path in ROOT.glob("*/*"):
        if path.suffix in (".cu", ".hip", ".cpp", ".cl", ".c", ".py") and path not in written:
            path.unlink()
    return 0
