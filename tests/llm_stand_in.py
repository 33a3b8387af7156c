"""A stand-in for a model that mends what the feedback names, and nothing else.

It gives a first answer, and from then on reads only the prompt: the last answer in it and what is
said of that. A rule is found by words of the feedback and edits the text where they point; none of
them knows the case, nor a right answer.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from answer_support import reply_of

from mkgen.llm.provider import Provider, Reply

_LAST = re.compile(
    r"# Your last answer\n\n```(\w*)\n(.*?)```\n\n(.*?)\n+# (?:What to try|Answer)", re.DOTALL
)
_BARRIER = {"opencl": "barrier(CLK_LOCAL_MEM_FENCE);"}
_SHARED = r"(?:__shared__|__local) \w+ (\w+)\[([^\]]+)\];"


@dataclass(frozen=True)
class Seen:
    """What a prompt shows."""

    prompt: str
    language: str
    text: str
    said: str

    def lines(self) -> list[str]:
        return self.text.split("\n")

    def elements(self, buffer: str) -> str:
        """`ROWS * COLS`, from the table of buffers."""
        row = re.search(rf"^\| `{buffer}` \|[^|]*\|[^|]*\| ([^|]*) \|", self.prompt, re.MULTILINE)
        return " * ".join(row[1].split(", ")) if row else ""

    def with_line(self, number: int, line: str | None) -> str:
        """The text with another line `number`; None: without it."""
        lines = self.lines()
        lines[number - 1 : number] = [] if line is None else [line]
        return "\n".join(lines)


Rule = Callable[[Seen, "re.Match[str]"], str]


def add_guard(seen: Seen, match: re.Match[str]) -> str:
    """Behind the index of the thread: out of bounds of a buffer."""
    bound = seen.elements(match["buffer"])
    return re.sub(
        r"^( *)(?:const )?int (\w+) = (.*(?:threadIdx|get_global_id|get_local_id).*);$",
        rf"\g<0>\n\1if (\2 >= {bound}) return;",
        seen.text, count=1, flags=re.MULTILINE,
    )  # fmt: skip


def end_statement(seen: Seen, match: re.Match[str]) -> str:
    number = int(match["line"])
    return seen.with_line(number, f"{seen.lines()[number - 1]};")


def end_statement_before(seen: Seen, match: re.Match[str]) -> str:
    """NVIDIA's compiler names the line that follows."""
    number = int(match["line"]) - 1
    return seen.with_line(number, f"{seen.lines()[number - 1]};")


def take_the_name(seen: Seen, match: re.Match[str]) -> str:
    """The compiler knows a better one."""
    number = int(match["line"])
    line = seen.lines()[number - 1]
    return seen.with_line(number, re.sub(rf"\b{match['wrong']}\b", match["right"], line))


def nearest_name(seen: Seen, match: re.Match[str]) -> str:
    """The compiler knows none: the one of the text that is most like it."""
    number, wrong = int(match["line"]), match["wrong"]
    words = sorted(set(re.findall(r"[A-Za-z_]\w+", seen.text)) - {wrong})
    like = difflib.get_close_matches(wrong, words, n=1)
    line = seen.lines()[number - 1]
    return seen.with_line(number, re.sub(rf"\b{wrong}\b", like[0], line)) if like else seen.text


def write_it_all(seen: Seen, match: re.Match[str]) -> str:
    """Elements that nobody writes: a grid that is rounded down, a bound that is too small."""
    wider = re.sub(
        r'^(grid = .*?)"([^"]*?) // (\w+)"', r'\1"ceil_div(\2, \3)"', seen.text, flags=re.MULTILINE
    )
    return wider if wider != seen.text else re.sub(r"(< [\w *]+?) - 1\)", r"\1)", seen.text)


def scale_constant(seen: Seen, match: re.Match[str]) -> str:
    """What is a constant times too large, where the text stores a product with one."""
    factor = float(match["expected"]) / float(match["got"])

    def scaled(found: re.Match[str]) -> str:
        return f"{found[1]}{round(float(found[2]) * factor, 4)!r}f{found[3]}"

    return re.sub(r"(y\[.*= .*?)(\d+\.\d+)f( \*)", scaled, seen.text, count=1)


def order_shared_memory(seen: Seen, match: re.Match[str]) -> str:
    """A barrier behind every statement that stores to shared memory."""
    arrays = "|".join(name for name, _ in re.findall(_SHARED, seen.text))
    barrier = _BARRIER.get(seen.language, "__syncthreads();")
    stores = rf"^( *)((?:if \([^;{{]*\) )?(?:{arrays})\[.*= .*;)$(?!\n *(?:barrier|__syncthreads))"
    return re.sub(stores, rf"\1\2\n\1{barrier}", seen.text, flags=re.MULTILINE)


def order_lines(seen: Seen, match: re.Match[str]) -> str:
    """A barrier before the later of the two lines that a sanitizer names."""
    number = max(int(match["line"]), int(match["other"]))
    line = seen.lines()[number - 1]
    indent = line[: len(line) - len(line.lstrip())]
    barrier = _BARRIER.get(seen.language, "__syncthreads();")
    return seen.with_line(number, f"{indent}{barrier}\n{line}")


def part_blocks(seen: Seen, match: re.Match[str]) -> str:
    """Two blocks at one element: a loop over a block's elements that goes one too far."""
    number = int(match["line"])
    near = range(max(0, number - 3), number)
    lines = seen.lines()
    for at in near:
        lines[at] = lines[at].replace("<= ", "< ")
    return "\n".join(lines)


def widen_array(seen: Seen, match: re.Match[str]) -> str:
    """As much longer as what is written behind its end."""
    more = (int(match["behind"]) + int(match["bytes"])) // 4
    return re.sub(rf"\b({match['array']})\[(\w+)\];", rf"\1[\2 + {more}];", seen.text, count=1)


def read_inside(seen: Seen, match: re.Match[str]) -> str:
    """What lies behind the end of a shared array becomes zero."""
    number = int(match["line"])
    line = seen.lines()[number - 1]
    guarded = rf"= \2 < {match['count']} ? \1[\2] : 0.0f;"
    return seen.with_line(number, re.sub(r"= (\w+)\[([^\]]*)\];", guarded, line))


def write_before_reading(seen: Seen, match: re.Match[str]) -> str:
    """A guarded store to shared memory becomes one of zero elsewhere."""
    stores = rf"if \(([^;{{]*)\) ({match['array']}\[[^\]]*\]) = ([^;]*);"
    return re.sub(stores, r"\2 = (\1) ? \3 : 0.0f;", seen.text)


def shrink(seen: Seen, match: re.Match[str]) -> str:
    """Halves what sizes the shared arrays until they fit: a parameter, or a number."""
    has, may = int(match["has"]), int(match["may"])
    sizes = " ".join(size for _, size in re.findall(_SHARED, seen.text)) or seen.text

    def halved(found: re.Match[str]) -> str:
        value, bytes_ = int(found[2]), has
        while bytes_ > may:
            value, bytes_ = value // 2, bytes_ // 2
        return f"{found[1]}{value}"

    for name in re.findall(r"\b[A-Z_]+\b", sizes):
        smaller = re.sub(rf"^({name} = \[)(\d+)", halved, seen.text, flags=re.MULTILINE)
        if smaller != seen.text:
            return smaller
    return seen.text


def fewer_threads(seen: Seen, match: re.Match[str]) -> str:
    return re.sub(rf"\b{match['has']}\b", match["may"], seen.text)


def take_out_line(seen: Seen, match: re.Match[str]) -> str:
    return seen.with_line(int(match["line"]), None)


def leave_input(seen: Seen, match: re.Match[str]) -> str:
    return re.sub(rf"^.*\*\){match['buffer']}\).*= .*;\n", "", seen.text, flags=re.MULTILINE)


def rename_size(seen: Seen, match: re.Match[str]) -> str:
    number = int(match["line"])
    line = seen.lines()[number - 1]
    return seen.with_line(number, re.sub(rf"\b{match['wrong']}\b", match["right"], line))


def smaller_tile(seen: Seen, match: re.Match[str]) -> str:
    """Registers are spilled: half of what the first parameter says."""
    return re.sub(
        r"^(\w+ = \[)(\d+)", lambda m: f"{m[1]}{int(m[2]) // 2}", seen.text, count=1,
        flags=re.MULTILINE,
    )  # fmt: skip


#: By words of the feedback; the first that changes the text is followed.
RULES: tuple[tuple[str, Rule], ...] = (
    (r":(?P<line>\d+): \w+\(\), a function of the host's system", take_out_line),
    (r"line (?P<line>\d+): .*size '(?P<wrong>\w+)'\. Did you mean '(?P<right>\w+)'", rename_size),
    (r":(?P<line>\d+):\d+: error: expected ';'", end_statement),
    (r"\((?P<line>\d+)\): error: expected a \";\"", end_statement_before),
    (r":(?P<line>\d+):\d+: error: .*'(?P<wrong>\w+)'.*did you mean '(?P<right>\w+)'",
     take_the_name),
    (r":(?P<line>\d+):\d+: error: use of undeclared identifier '(?P<wrong>\w+)'", nearest_name),
    (r"(?P<has>\d+) threads per block; (?P<may>\d+) are allowed", fewer_threads),
    (r"(?P<has>\d+) bytes of (?:dynamic )?shared memory; (?P<may>\d+) are allowed", shrink),
    (r"\((?P<has>\d+)\) exceeds limit \((?P<may>\d+)\)", shrink),
    (r"changed (?:buffer|its input) '(?P<buffer>\w+)'", leave_input),
    (r"line (?P<line>\d+): undefined: index \d+ out of bounds for type '\w+ \[(?P<count>\d+)\]'",
     read_inside),
    (r"writes (?P<bytes>\d+) bytes (?P<behind>\d+) bytes after '(?P<array>\w+)' of",
     widen_array),
    (r"of '(?P<array>\w+)', which no thread of the block has written", write_before_reading),
    (r"line (?P<line>\d+): race: .*nothing orders the blocks", part_blocks),
    (r"line (?P<line>\d+): race: .* at line (?P<other>\d+), without a barrier", order_lines),
    (r"when threads run in another order", order_shared_memory),
    (r"(?:after|behind the end of) buffer '(?P<buffer>\w+)'", add_guard),
    (r"got nan", write_it_all),
    (r"expected (?P<expected>-?[\d.e-]+), got (?P<got>-?[\d.e-]+);", scale_constant),
    (r"[1-9]\d* (?:registers|bytes) spilled", smaller_tile),
)  # fmt: skip


@dataclass
class StandIn(Provider):
    """Answers `first`, then mends."""

    first: str
    asked: list[str] = field(default_factory=list)
    followed: list[str] = field(default_factory=list)
    """Names of the rules, in order."""

    @property
    def name(self) -> str:
        return "stand-in"

    @property
    def identity(self) -> str:
        return f"stand-in {self.first}"

    def ask(self, prompt: str, sample: int) -> Reply:
        self.asked.append(prompt)
        last = _LAST.search(prompt)
        text = self.first if last is None else self.mended(Seen(prompt, *last.groups()))
        return reply_of(f"Here it is.\n\n```\n{text}```\n")

    def mended(self, seen: Seen) -> str:
        """By the first rule whose words are there and that finds its place; else as it was."""
        for words, rule in RULES:
            match = re.search(words, seen.said)
            made = rule(seen, match) if match else seen.text
            if made != seen.text:
                self.followed.append(rule.__name__)
                return made
        return seen.text
