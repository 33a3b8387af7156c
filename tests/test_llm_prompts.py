"""Prompts: their texts, their exemplars, and that nothing is in them that must not be."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from cli_support import call

from mkgen.codegen.candidate import lowered, scales
from mkgen.codegen.registry import backend_named, backends
from mkgen.errors import UserError
from mkgen.evaluate.cache import CompileCache
from mkgen.evaluate.oracle import Judge
from mkgen.evaluate.pool import Workers
from mkgen.evaluate.protocol import Settings, evaluate
from mkgen.foreign.native import parse_native
from mkgen.foreign.native_program import source_candidate
from mkgen.llm.exemplar import computation, exemplar_of, exemplars, fixed_exemplar
from mkgen.llm.hints import hints_for
from mkgen.llm.prompt import (
    Extras,
    Form,
    Previous,
    Prompt,
    Strategy,
    estimated_tokens,
    make_prompt,
    prompts_version,
)
from mkgen.record import Status
from mkgen.target import Target
from mkgen.task import CATEGORIES, Task, find_task, task_files

GOLDEN = Path(__file__).parent / "data" / "prompts"
NAMES = ("cuda", "hip", "opencl", "pallas", "sycl", "triton")
#: Twelve pairs: every backend twice, every strategy and form at least once.
PAIRS = [
    ("softmax", "cuda", Strategy.CATEGORY, Form.NATIVE),
    ("softmax", "hip", Strategy.CATEGORY_HINTS, Form.NATIVE),
    ("softmax", "triton", Strategy.CATEGORY, Form.TEMPLATE),
    ("matmul", "cuda", Strategy.CATEGORY_HINTS, Form.TEMPLATE),
    ("matmul", "pallas", Strategy.CATEGORY, Form.NATIVE),
    ("matmul", "opencl", Strategy.ONE_SHOT, Form.NATIVE),
    ("conv2d", "sycl", Strategy.CATEGORY, Form.NATIVE),
    ("conv2d", "hip", Strategy.ZERO_SHOT, Form.NATIVE),
    ("bias_gelu", "opencl", Strategy.ONE_SHOT, Form.TEMPLATE),
    ("bias_gelu", "sycl", Strategy.CATEGORY, Form.TEMPLATE),
    ("cumsum", "pallas", Strategy.CATEGORY, Form.NATIVE),
    ("layer_norm", "triton", Strategy.ZERO_SHOT, Form.MODULE),
]


def prompt_of(
    task: Task | str,
    name: str,
    strategy: Strategy = Strategy.CATEGORY,
    form: Form = Form.NATIVE,
    extras: Extras | None = None,
) -> Prompt:
    found = find_task(task) if isinstance(task, str) else task
    backend = backend_named(name)
    target = Target(backend=name, arch=backend.default_arch)
    return make_prompt(found, backend, target, strategy, form, extras)


@pytest.mark.parametrize(("task", "name", "strategy", "form"), PAIRS)
def test_golden(task: str, name: str, strategy: Strategy, form: Form) -> None:
    text = prompt_of(task, name, strategy, form).text
    file = GOLDEN / f"{task}.{name}.{strategy.value}.{form.value}.md"
    if os.environ.get("MKGEN_GOLDEN") == "write":
        file.write_text(text)
    assert text == file.read_text(), f"{file.name} differs; MKGEN_GOLDEN=write writes it anew"


# -- what must not be in a prompt -------------------------------------------------------------


def secrets_in(prompt: Prompt) -> list[str]:
    """Held-out sizes, places and keys that `prompt` tells.

    A number counts when it stands in a held-out workload of the task, or of the exemplar's, and
    nowhere that a prompt may take numbers from.
    """
    tasks = [prompt.task, *([prompt.exemplar.task] if prompt.exemplar else [])]
    hidden: set[int] = set()
    for task in tasks:
        graph = lowered(task)
        for workload in task.workloads():
            if workload.role == "heldout":
                hidden |= set(graph.sizes(workload.sizes).values())
    numbers = {int(n) for n in re.findall(r"(?<![\w.])\d+(?![\w.])", prompt.text)}
    zero = prompt_of(prompt.task, prompt.target.backend, Strategy.ZERO_SHOT, prompt.form)
    open_numbers = {n for task in tasks for n in lowered(task).sizes(task.bench).values()}
    open_numbers |= {int(n) for t in tasks for n in re.findall(r"\d+", _code(t))}
    if prompt.exemplar:
        open_numbers |= {int(n) for n in re.findall(r"\d+", prompt.exemplar.text)}
    open_numbers |= {int(n) for n in re.findall(r"\d+", zero.text.partition("# The target")[2])}
    # the model's figures follow from full sizes and the device
    hints = hints_for(prompt.task, backend_named(prompt.target.backend), prompt.target)
    open_numbers |= {int(n) for n in re.findall(r"\d+", " ".join(hints))}
    found = [f"size {n}" for n in sorted(numbers & hidden - open_numbers)]
    for place in (str(Path.home()), "/tmp/", str(Path(__file__).parents[1])):
        if place != "/" and place in prompt.text:
            found.append(f"path {place}")
    words = ("heldout", "held-out", "oracle", "seed", "expected value")
    return found + [w for w in words if re.search(rf"\b{w}\b", prompt.text, re.IGNORECASE)]


def _code(task: Task) -> str:
    from mkgen.package.reference import reference_file

    return reference_file(task).text


def test_nothing_hidden_in_the_prompt_of_any_task() -> None:
    for number, name in enumerate(task_files()):
        task, backend = find_task(name), NAMES[number % len(NAMES)]
        prompt = prompt_of(task, backend, Strategy.CATEGORY_HINTS)
        assert secrets_in(prompt) == [], f"{name} on {backend}"


def test_the_scan_finds_what_it_looks_for() -> None:
    task = find_task("softmax")
    for told in ("ROWS = 401", "see the held-out sizes", f"in {Path.home()}", "seed 7"):
        extras = Extras(previous=Previous("x", told))
        assert secrets_in(prompt_of(task, "hip", extras=extras)), told


def test_no_key_in_a_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-5f1e")
    monkeypatch.setenv("MKGEN_API_KEY", "sk-canary-5f1e")
    assert "canary" not in prompt_of("softmax", "hip", Strategy.CATEGORY_HINTS).text


# -- exemplars --------------------------------------------------------------------------------


def test_an_exemplar_is_never_the_task_itself(tmp_path: Path) -> None:
    for name in ("softmax", "conv2d", "relu", "matmul"):
        for backend in NAMES:
            exemplar = prompt_of(name, backend).exemplar
            assert exemplar is not None and exemplar.task.name != name
            assert exemplar.task.category == find_task(name).category
    # nor the same computation under another name
    text = Path(task_files()["softmax"]).read_text()
    mine = tmp_path / "mine.py"
    mine.write_text(text.replace("def softmax", "def rows").replace("=softmax,", "=rows,")
                    .replace('name="softmax"', 'name="rows"').replace("ROWS", "R"))  # fmt: skip
    task = find_task(str(mine))
    assert computation(lowered(task)) == computation(lowered(find_task("softmax")))
    exemplar = prompt_of(task, "hip").exemplar
    assert exemplar is not None and exemplar.task.name != "softmax"


def test_the_nearest_is_near() -> None:
    exemplar = prompt_of("softmax", "hip").exemplar
    assert exemplar is not None and exemplar.task.name == "log_softmax"
    assert 0.5 < exemplar.likeness <= 1


def test_the_fixed_exemplar_is_the_same_for_every_other_task() -> None:
    backend = backend_named("hip")
    target = Target(backend="hip", arch=backend.default_arch)
    shown = {t: fixed_exemplar(find_task(t), backend, target).task.name
             for t in ("relu", "matmul", "bias_gelu")}  # fmt: skip
    assert shown == {"relu": "bias_gelu", "matmul": "bias_gelu", "bias_gelu": "softmax"}


def test_every_category_has_two_exemplars_on_every_backend() -> None:
    # of two, one is never the task that is asked for
    for name in ("hip", "pallas"):
        backend = backend_named(name)
        target = Target(backend=name, arch=backend.default_arch)
        for category in CATEGORIES:
            found = exemplars(category, backend, target)
            assert next(found, None) and next(found, None), f"{category} on {target}"


@pytest.mark.acceptance
@pytest.mark.timeout(3600)
def test_an_exemplar_of_every_category_and_backend_passes() -> None:
    """Of every category on every backend one exemplar, through the whole protocol."""
    settings = Settings(Judge(scales), CompileCache())
    failed: list[str] = []
    done = 0
    with Workers(2) as workers:
        for name in backends():
            backend = backend_named(name)
            target = Target(backend=name, arch=backend.default_arch)
            for category in CATEGORIES:
                exemplar = next(exemplars(category, backend, target))
                native = parse_native(exemplar.text, f"exemplar{backend.extension}")
                made = source_candidate(
                    exemplar.task, backend, target, native, exemplar.task.precision
                )
                record = evaluate(made, workers, settings)
                done += 1
                if record.status is not Status.PASS:
                    failed.append(f"{category} on {target}: {exemplar.task.name}: {record.reason}")
    print(f"{done - len(failed)} of {done} exemplars pass")
    assert done == 90 and not failed, "\n".join(failed)


def test_an_exemplar_passes_as_a_foreign_text() -> None:
    settings = Settings(Judge(scales), CompileCache())
    task, backend = find_task("softmax"), backend_named("hip")
    exemplar = exemplar_of(task, backend, Target(backend="hip", arch="gfx942"))
    native = parse_native(exemplar.text, "exemplar.hip")
    with Workers(1) as workers:
        made = source_candidate(
            exemplar.task, backend, exemplar.target, native, exemplar.task.precision
        )
        record = evaluate(made, workers, settings)
    assert record.status is Status.PASS, record.reason
    assert record.origin == "source"


# -- forms and extras -------------------------------------------------------------------------


def test_a_second_question_shows_the_answer_and_what_was_said_of_it() -> None:
    extras = Extras(previous=Previous("int x;\n", "y[3] is 0, expected 1"), memory=("a note",))
    text = prompt_of("relu", "hip", extras=extras).text
    assert "int x;\n```" in text and "y[3] is 0, expected 1" in text and "- a note" in text


def test_a_module_is_asked_of_backends_that_run_modules_only() -> None:
    assert "class ModelNew" in prompt_of("relu", "triton", form=Form.MODULE).text
    with pytest.raises(UserError, match="--form native"):
        prompt_of("relu", "opencl", form=Form.MODULE)


def test_the_same_question_is_the_same_text() -> None:
    first, second = prompt_of("conv2d", "hip"), prompt_of("conv2d", "hip")
    assert first.sha == second.sha and first.version == prompts_version()


def test_the_command_prints_the_prompt_alone(capfd: pytest.CaptureFixture[str]) -> None:
    asked = ("prompt", "--task", "relu", "--backend", "hip")
    prompt = prompt_of("relu", "hip")
    done = call(capfd, *asked)
    assert done.code == 0 and done.out == prompt.text
    assert "tokens" in done.err
    done = call(capfd, *asked, "--tokens")
    assert done.code == 0 and int(done.out) == estimated_tokens(prompt.text)
    done = call(capfd, *asked, "--json")
    assert json.loads(done.out)["exemplar"]
    assert call(capfd, *asked, "--strategy", "two-shot").code == 2
