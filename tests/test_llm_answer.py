"""What is taken from a model's reply, and why something is not."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from answer_support import BACKENDS, Case, cases, reply_of

from mkgen.codegen.registry import backend_named
from mkgen.foreign.native import holds_native, parse_native
from mkgen.llm.answer import MAX_REPLY_CHARACTERS, Answer, extract
from mkgen.llm.blocks import MAX_DEPTH, read_blocks
from mkgen.llm.prompt import Form

HEAD = """/* mkgen
task = "relu"
backend = "hip"
[[launch]]
entry = "relu_kernel"
args = ["x", "y"]
grid = ["ROWS"]
block = [64]
*/
"""
KERNEL = (
    HEAD + 'extern "C" __global__ void relu_kernel(const float* x, float* y) {\n  y[0] = 1;\n}\n'
)
MODULE = "import torch\n\n\nclass ModelNew(torch.nn.Module):\n    pass\n"


def taken(
    text: str, form: Form = Form.NATIVE, backend: str = "hip", finish: str = "stop"
) -> Answer:
    return extract(reply_of(text, finish), form, backend_named(backend), "relu")


def fenced(text: str, info: str = "hip", fence: str = "```") -> str:
    return f"{fence}{info}\n{text}{fence}\n"


EXTRACTED = [
    (c, b) for c in cases() for b in (BACKENDS if c.form is not Form.MODULE else ("triton",))
]


@pytest.mark.parametrize(("case", "backend"), EXTRACTED, ids=lambda v: getattr(v, "name", v))
def test_a_reply_of_the_table_is_taken_or_not(case: Case, backend: str) -> None:
    """Its rejections come before anything is made of a text; those of heads are judging's."""
    answer = extract(case.reply(backend), case.form, backend_named(backend), case.task)
    assert bool(answer.text) != bool(answer.reason)
    if case.status != "no-kernel":
        assert not answer.reason
        if case.form is not Form.MODULE:
            parse_native(answer.text, answer.name)
        assert "```" not in answer.text.replace("print(model(x))", "") or "docstring" in case.name
    assert "\n" not in answer.reason and "\r" not in answer.text
    assert (
        answer.name
        == f"{case.task}{'.py' if case.form is Form.MODULE else backend_named(backend).extension}"
    )


@pytest.mark.parametrize("tag", ["think", "thinking", "reasoning", "THINK"])
def test_nothing_is_taken_from_reasoning(tag: str) -> None:
    thought = fenced(KERNEL.replace("= 1", "= 666"))
    for text in (
        f"<{tag}>\n{thought}</{tag}>\n{fenced(KERNEL)}",
        f"{thought}</{tag}>\n{fenced(KERNEL)}",
        f"<{tag}>\n{thought[:-4]}\n</{tag}>\n{fenced(KERNEL)}",  # it did not close its fence
        f"<{tag}>one <{tag}>\n</{tag}>\n{thought}</{tag}> {fenced(KERNEL)}",
        f"{thought[:-4]}</{tag}>\n{fenced(KERNEL)}",
    ):
        assert taken(text).text == KERNEL, text
    only = taken(f"<{tag}>\n{thought}and so", finish="length")
    assert not only.text and "ends inside its reasoning" in only.reason


def test_words_of_reasoning_in_code_are_code() -> None:
    text = KERNEL.replace("  y[0]", "  // <think> not </think>\n  y[0]")
    assert taken(fenced(text)).text == text


def test_the_last_complete_block_is_the_answer() -> None:
    second = KERNEL.replace("= 1", "= 2")
    cut = fenced(KERNEL.replace("= 1", "= 3"))[:-8]
    assert taken(fenced(KERNEL) + fenced(second)).text == second
    answer = taken(fenced(KERNEL) + fenced(second) + cut, finish="length")
    assert answer.text == second
    assert answer.note == "block 2 of the 3 that would do; what follows it is cut off"
    # the second begins while the first is open: the first had no closing fence
    assert taken(fenced(KERNEL)[:-4] + "Again:\n" + fenced(second)).text == second


def test_a_fence_that_is_not_closed() -> None:
    text = fenced(KERNEL)[:-4]
    whole = taken(text)
    assert whole.text == KERNEL and whole.note == "its closing fence is missing"
    for finish in ("length", "unknown"):
        assert "10 lines" not in taken(text, finish=finish).reason
        assert "no closing fence" in taken(text, finish=finish).reason
    cut = taken(text[:-12])
    assert cut.reason == (
        "the answer ends in the middle of the file: 11 lines, no closing fence, a brace is open; "
        "give the whole file, shorter"
    )


def test_braces_in_comments_strings_and_branches_do_not_count() -> None:
    for inner in ("// {{{\n", "/* { */\n", "const char* s = \"{\";\n", "char c = '{';\n",
                  "#if COLS\n  if (1) {\n#else\n  if (0) {\n#endif\n  }\n"):  # fmt: skip
        assert taken(fenced(KERNEL.replace("  y[0]", f"{inner}  y[0]"))).text, inner
    assert "2 braces are open" in taken(fenced(KERNEL.replace("  y[0]", "{ y[0]")[:-2])).reason


@pytest.mark.parametrize(
    "text",
    [
        fenced(KERNEL, "hip", "~~~"),
        fenced(KERNEL, "", "````"),
        fenced(KERNEL, 'cpp title="relu.hip"'),
        fenced(KERNEL, "hip:relu.hip"),
        f"````markdown\n{fenced(KERNEL)}````\n",
        f"```markdown\n{fenced(KERNEL)}```\n",
        f"````\n{fenced(KERNEL, '')}````\n",
        "> quoted\n\n" + fenced(KERNEL),
        "1. x\n" + "".join(f"    {s}\n" for s in fenced(KERNEL).splitlines()),
        "- " + fenced(KERNEL),
        fenced(KERNEL).replace("\n", "\r\n"),
        "\ufeff" + fenced(KERNEL),
        f"Use ```fmaxf``` here.\n{fenced(KERNEL)}",
        f"Before\n{KERNEL}\nAfter, in words {'{'}.",
        f"{KERNEL}",
        f"```\nnot closed\n\n~~~hip\n{KERNEL}~~~\n",
    ],
)
def test_wherever_it_stands(text: str) -> None:
    assert taken(text).text == KERNEL


def test_other_files_matter_only_where_the_kernel_needs_them() -> None:
    needing = KERNEL.replace("*/\n", '*/\n#include "tools/sum.h"\n')
    header = fenced("int sum();\n", "c")
    for said in ("**sum.h**", "File: `sum.h`", "// nothing"):
        named = said if "sum.h" in said else ""
        text = f"{named}\n{header}{fenced(needing)}"
        if named:
            assert "includes tools/sum.h, another file" in taken(text).reason
        else:
            assert taken(text).text == needing, "the compiler says what it does not find"
    inside = fenced("// file: sum.h\nint sum();\n", "c")
    assert "another file" in taken(inside + fenced(needing)).reason
    assert taken(f"**sum.h**\n{header}{fenced(KERNEL)}").note == "beside 1 other block"
    module = MODULE.replace("import torch\n", "import torch\nfrom .tools import f\n")
    text = f"tools.py:\n{fenced('f = 1', 'python')}\n{fenced(module, 'python')}"
    text = text.replace("f = 1```", "f = 1\n```")
    assert "imports tools, another file" in taken(text, Form.MODULE, "triton").reason


REJECTED = {
    "": "the answer is empty; give one file of",
    " \n\t\r\n": "the answer is empty",
    "The kernel is easy.": "no code in 19 characters of prose; give one file of",
    "I cannot do that.": "the author declined: I cannot do that.",
    "```\nx\n```": "no kernel in a language",
    "```\n```": "the answer holds no file",
    "<think>a</think>": "the answer holds no file",
    fenced('__global__ void f() {}\n'): "the file has no head",
    fenced('__kernel void f() {}\n'): "the answer is OpenCL C",
    fenced(KERNEL.replace("/* mkgen\n", "/*mkgen\n")): "line 1 of the file should be its first",
    fenced("#include <x.h>\n" + KERNEL): "the file begins with `#include <x.h>`",
    fenced(MODULE): "a PyTorch file that defines ModelNew",
    "import torch\nx = torch.relu\n": "the answer is PyTorch",
}  # fmt: skip


@pytest.mark.parametrize("text", REJECTED)
def test_a_rejection_says_what_to_do(text: str) -> None:
    answer = taken(text)
    assert not answer.text
    assert REJECTED[text] in answer.reason
    assert len(answer.reason) < 400


def test_what_the_provider_says_counts() -> None:
    assert taken(fenced(KERNEL), finish="refusal").reason.startswith("the author declined: ```hip")
    assert "ends before the file begins" in taken("Let me think about", finish="length").reason
    assert taken(fenced(KERNEL) + "It is fa", finish="length").text == KERNEL
    assert "ends in the middle" in taken(KERNEL, finish="length").reason
    assert "longer than" in taken("x" * (MAX_REPLY_CHARACTERS + 1)).reason


def test_python_files_that_go_on() -> None:
    whole = fenced(MODULE, "python")
    assert taken(whole, Form.MODULE, "triton").text == MODULE
    for cut in (MODULE.replace("    pass\n", ""), MODULE + "x = (1,\n", MODULE + '"""\n'):
        answer = taken(fenced(cut, "python"), Form.MODULE, "triton")
        assert "ends in the middle of the file" in answer.reason, cut
    prose = f"Here:\n\n{MODULE}\nThat is it. It's quick!\n\nBye, it's over.\n"
    assert taken(prose, Form.MODULE, "triton").text == MODULE
    faulty = MODULE + "x = = 1\n"
    assert taken(fenced(faulty, "python"), Form.MODULE, "triton").text == faulty


def test_blocks_nest_only_so_deep() -> None:
    text = "".join(f"```a{i}\n" for i in range(50)) + "x\n" + "```\n" * 50
    blocks = read_blocks(text).blocks
    # the fences past the depth are text, and the first ends close what is open
    assert len(blocks) < 50 and max(b.text.count("```a") for b in blocks) < 50
    assert len([b for b in blocks if b.closed]) >= MAX_DEPTH


MIB = 1 << 20
HOSTILE = {
    "fences": "```hip\n",
    "fences alone": "```\n",
    "backticks": "`",
    "tildes": "~~~a\n",
    "list markers": "- ",
    "numbers": "1. ",
    "white space": " ",
    "tabs and quotes": "\t> ",
    "open comments": "/*",
    "open heads": "/* mkgen\n",
    "python heads": "# mkgen\n",
    "quotes": '"\\',
    "raw strings": 'R"x(',
    "braces": "{",
    "thinking": "<think>",
    "no more thinking": "</think>\n",
    "both": "<think></think>",
    "includes": '#include "a.h"\n',
    "imports": "from a import b\n",
    "indented imports": "\n ",
    "names": "a.hip ",
    "dots": "a.",
    "parentheses": "(",
    "modules": "class ModelNew\n",
    "triple quotes": '"""',
    "kernels": fenced(KERNEL),
    "open kernels": fenced(KERNEL)[:-4],
    "apologies": "I'm sorry ",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_mebibyte_of_anything_takes_linear_time(name: str) -> None:
    part = HOSTILE[name]

    def seconds(size: int, wraps: tuple[Callable[[str], str], ...]) -> float:
        body = part * (size // len(part))
        started = time.process_time()
        for wrap in wraps:
            taken(wrap(body))
            taken(wrap(body), Form.MODULE, "triton")
        return time.process_time() - started

    every = (
        str,
        lambda body: HEAD + body,
        lambda body: fenced(HEAD + body),
        lambda body: fenced(MODULE + body, "python"),
    )
    sixteenth, quarter = seconds(MIB // 64, every), seconds(MIB // 16, every)
    assert quarter < 8 * sixteenth + 0.5, (sixteenth, quarter)
    assert seconds(MIB, (str, lambda body: fenced(HEAD + body))) < 20


def test_what_is_taken_begins_as_the_form_does() -> None:
    for text in (fenced(KERNEL), KERNEL, f"// note\n{KERNEL}"):
        assert holds_native(taken(text).text)
