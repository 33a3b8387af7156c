"""Mechanical faults in kernel texts: rules over single lines, each hit of each rule is a mutant.

The rules know the six languages' spelling, not the templates: a mutant is made wherever a line has
the shape. Left out are changes that alter nothing by construction; each such place says why.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

KINDS = (
    "barrier", "bound", "guard", "identity", "stride", "axis", "reduction", "offset", "epilogue",
    "scan", "window", "group", "causal", "state", "repeat", "rounding", "tie", "index",
)  # fmt: skip

C = frozenset({"cuda", "hip", "sycl", "opencl"})
TRITON = frozenset({"triton"})
PALLAS = frozenset({"pallas"})
PYTHON = TRITON | PALLAS

#: A size, a parameter, or a product of them.
_SIZE = r"[A-Z][A-Z0-9_]*(?: [*/] [A-Z][A-Z0-9_]*)*"
_COMPARED = rf"(?:\w+ < {_SIZE}|-?\d <= \w+)"

#: Lines that say nothing of the computation: checks of arguments, launch options, signatures.
_IDLE = {
    "c": re.compile(r"\s*(//|#|extern|__launch|__kernel|__attribute|void |template|config = )"),
    "python": re.compile(
        r'\s*(#|@triton|def |import |from |\(".*torch\.|\(".*jnp\.|for name, array|if tuple\('
        r'|got =|raise |expected =|num_warps|name=|"""|return (?!\())|.*tl\.constexpr|^[A-Z_, ]+ = '
    ),
}


@dataclass(frozen=True)
class Mutation:
    """One changed line."""

    kind: str
    number: int
    """Position of the line in the body, from 0."""
    before: str
    after: str

    @property
    def description(self) -> str:
        """`bound: for (…; col < COLS; …) => for (…; col < COLS - 1; …)`; says nothing of lines."""
        return f"{self.kind}: {self.before.strip()} => {self.after.strip() or '(nothing)'}"

    def apply(self, body: str) -> str:
        """`body` with the change. ValueError when the line is not there."""
        lines = body.split("\n")
        if lines[self.number] != self.before:
            raise ValueError(f"line {self.number} is not {self.before!r}")
        lines[self.number] = self.after
        return "\n".join(lines)


Replace = Callable[[re.Match[str], Mapping[str, int]], str]


@dataclass(frozen=True)
class _Rule:
    kind: str
    languages: frozenset[str]
    pattern: re.Pattern[str]
    replace: Replace
    only: re.Pattern[str] | None = None
    unless: re.Pattern[str] | None = None
    text_has: str = ""
    """The body must hold this."""


def _rule(
    kind: str,
    languages: frozenset[str],
    pattern: str,
    *replacements: str | Replace,
    only: str = "",
    unless: str = "",
    text_has: str = "",
) -> list[_Rule]:
    made = []
    for replacement in replacements:
        if isinstance(replacement, str):
            text = replacement
            replace: Replace = lambda match, sizes, text=text: match.expand(text)  # noqa: E731
        else:
            replace = replacement
        made.append(
            _Rule(
                kind,
                languages,
                re.compile(pattern),
                replace,
                re.compile(only) if only else None,
                re.compile(unless) if unless else None,
                text_has,
            )  # fmt: skip
        )
    return made


def _other_size(match: re.Match[str], sizes: Mapping[str, int]) -> str:
    """The factor replaced by the next size that has another value."""
    names, factor = list(sizes), match["factor"]
    if factor not in sizes:
        return match[0]
    at = names.index(factor)
    for name in (*names[at + 1 :], *names[:at]):
        if sizes[name] != sizes[factor]:
            return match[0].replace(factor, name)
    return match[0]


def _unwrapped(function: str, keep: int) -> Replace:
    """`function(a, b, c)` replaced by one of its arguments."""

    def replace(match: re.Match[str], sizes: Mapping[str, int]) -> str:
        text, depth, start, parts = match.string, 0, match.end(), []
        for position in range(match.end(), len(text)):
            letter = text[position]
            if letter in "([":
                depth += 1
            elif letter in ")]" and depth:
                depth -= 1
            elif letter == "," and not depth:
                parts.append(text[start:position].strip())
                start = position + 1
            elif letter == ")":
                parts.append(text[start:position].strip())
                # the rest of the call belongs to the match: `changed` cuts it off there
                return parts[keep] + "\0" + str(position + 1)
        return match[0]

    return replace


def _rules() -> list[_Rule]:
    return [*_barriers(), *_bounds(), *_guards(), *_identities(), *_strides(), *_axes(),
            *_reductions(), *_offsets(), *_epilogues(), *_scans(), *_windows(), *_groups(),
            *_causal(), *_states(), *_repeats(), *_roundings(), *_ties(), *_indices()]  # fmt: skip


def _barriers() -> list[_Rule]:
    return [
        *_rule("barrier", C, r"__syncthreads\(\);|barrier\(CLK_LOCAL_MEM_FENCE\);"
               r"|item\.barrier\([^;]*\);", ""),
        # What orders the programs of a TPU's grid: a sum over an axis declared parallel is a race.
        *_rule("barrier", PALLAS, r'"arbitrary"', '"parallel"', text_has="scratch_shapes"),
    ]  # fmt: skip


def _bounds() -> list[_Rule]:
    compared = rf"(?<=\w) < ({_SIZE}|count|inside)(?=[;)&?,]| &| \?|$)"
    # One round more of these loops is masked, or does what another thread does too.
    tiles = r"for \(\w+ (depth_first|item|part)\b"
    return [
        *_rule("bound", C | PYTHON, compared, r" < \1 - 1"),
        *_rule("bound", C | PYTHON, compared, r" < \1 + 1", unless=tiles),
        *_rule("bound", C, rf">= ({_SIZE})\) return", r">= \1 - 1) return", r">= \1 + 1) return"),
        *_rule("bound", C | TRITON, r"0 <= (\w+)", r"1 <= \1", r"-1 <= \1"),
        *_rule("bound", C, r"\b(count|mask) > 0", r"\1 > 1"),
        *_rule("bound", PYTHON, rf"range\(0, ({_SIZE}), (\w+)\)", r"range(0, \1 - 1, \2)",
               r"range(\2, \1, \2)"),
        *_rule("bound", PYTHON, rf"range\(({_SIZE})\)", r"range(\1 - 1)", r"range(1, \1)"),
        *_rule("bound", PALLAS, r"num_programs\(2\) - 1", "num_programs(2) - 2"),
        *_rule("bound", PALLAS, r"(inside = )(\w+) - ", r"\1\2 - 1 - ", r"\1\2 + 1 - "),
        *_rule("bound", PALLAS, r"pl\.cdiv\(([^,]+), (\w+)\)", r"(\1 // \2)"),
        *_rule("bound", TRITON, r"-\(-(\(.*?\)|\w+) // (\w+)\)", r"\1 // \2", only=r"\bgrid = "),
        *_rule("bound", TRITON, r"grid = \((\w+),\)", r"grid = (\1 - 1,)"),
        *_rule("bound", frozenset({"cuda", "hip"}), r"\(([^()]+) \+ (\w+) - 1\) / \2", r"(\1) / \2",
               only="gridDim|hipLaunch|dim3"),
    ]  # fmt: skip


def _guards() -> list[_Rule]:
    # Who writes what every thread holds does not matter: `thread == 0` stays.
    condition = r"(?!thread (?:==|%))(?:[^()]|\([^()]*\))*"
    return [
        *_rule("guard", C, rf"{_COMPARED} && ", ""),
        *_rule("guard", C, rf" && {_COMPARED}(?=\)| \?)", ""),
        *_rule("guard", C, rf"if \({condition}\)(?! return)", "if (true)"),
        *_rule("guard", C, r"if \([^()]*\) return;", ""),
        *_rule("guard", C, r"0 <= .*? \? (.*\]) : [^;)]+", r"\1"),
        *_rule("guard", TRITON, r" & \([^()]*\)", ""),
        *_rule("guard", TRITON, r"\([^()]*\) & ", "", only="inside"),
        *_rule("guard", TRITON, r"inside & ", ""),
        *_rule("guard", TRITON, r"row_inside & col_inside", "row_inside", "col_inside"),
        *_rule("guard", TRITON, r", mask=.*\)$", ")", only=r"^\s+(tl\.store|\w+ = tl\.load)"),
        *_rule("guard", TRITON, r"tl\.where\((?=inside)", _unwrapped("tl.where", 1)),
        *_rule("guard", PALLAS, r"jnp\.where\((?=\w+ < inside)", _unwrapped("jnp.where", 1)),
        *_rule("guard", PALLAS, r"pl\.when\(step == 0\)", "pl.when(step >= 0)"),
    ]  # fmt: skip


def _identities() -> list[_Rule]:
    nan = 'float("nan")'
    return [
        # A tile's filler meets zeros of the other tile: only a NaN shows that it is used.
        *_rule("identity", C, r"float value = 0\.0f;", "float value = 0.0f / 0.0f;"),
        *_rule("identity", C, r"float (\w+) = 0\.0f;", r"float \1 = 1.0f;", unless=r"float value"),
        *_rule("identity", C, r"\{0\.0f\}", "{1.0f}"),
        *_rule("identity", C, r"(= |: )-(INFINITY|std::\S+?\(\))(?=[;)])", r"\g<1>0.0f"),
        *_rule("identity", C, r"(\] : )0\.0f", r"\g<1>1.0f"),
        *_rule("identity", C, r"= 2147483647;", "= 0;"),
        *_rule("identity", C, r"(\? col : )COLS", r"\g<1>0"),
        *_rule("identity", TRITON, r"(tl\.full\(\(\w+,\), )0\.0", r"\g<1>1.0"),
        *_rule("identity", TRITON, r'(tl\.full\(\(\w+,\), )-float\("inf"\)', r"\g<1>0.0"),
        *_rule("identity", TRITON, r"(tl\.full\(\(\w+,\), )2147483647", r"\g<1>0"),
        *_rule("identity", TRITON, r"(tl\.zeros\(.*\))$", r"\1 + 1.0"),
        *_rule("identity", TRITON, r'-float\("inf"\)\)', "0.0)", only="tl.where"),
        *_rule("identity", TRITON, r", 0\.0\)$", ", 1.0)", only=r"tl\.where\(inside"),
        *_rule("identity", TRITON, r", 2147483647\)\)$", ", 0))"),
        # Elsewhere what a masked load gives is masked again, or not stored.
        *_rule("identity", TRITON, r"other=0\.0", f"other={nan}", only="mask=inside",
               text_has="tl.dot"),
        *_rule("identity", TRITON, r'other=-float\("inf"\)', "other=0.0"),
        *_rule("identity", PYTHON, r"col, COLS\)", "col, 0)"),
        *_rule("identity", PALLAS, r"jnp\.zeros(_like)?\(", r"jnp.ones\1("),
        *_rule("identity", PALLAS, r"-jnp\.inf", "0.0"),
        *_rule("identity", PALLAS, r", 0\.0\),$", ", jnp.nan),", only=r"< inside"),
    ]  # fmt: skip


def _strides() -> list[_Rule]:
    places = r"\[.*\*.*\]|tl\.load|tl\.store|^\s+(const int )?[hw] = "
    factor = r"\* (?P<factor>[A-Z][A-Z0-9_]*)(?= [+*\])]|\)|\]|,)"
    wider = r"* (\g<factor> + 1)"
    return [
        *_rule("stride", C | TRITON, factor, wider, _other_size, only=places),
        *_rule("stride", C | TRITON, r"(?<=[hw] = ).*", _dropped(r" - PAD_[HW]"),
               _dropped(r" \+ [rs]\b")),
        *_rule("stride", PALLAS, r"\* (STRIDE_H)", r"* (\1 + 1)", only="lambda"),
        *_rule("stride", PALLAS, r"pl\.ds\(s, (\w+), (STRIDE_W)\)", r"pl.ds(s, \1, \2 + 1)",
               r"pl.ds(0, \1, \2)"),
        *_rule("stride", PALLAS, r"(STRIDE_H) \+ r\b", r"\1"),
        *_rule("stride", PALLAS, r"reshape\(1, (\w+)\)", r"reshape(1, \1)[:, ::-1]"),
        *_rule("stride", PALLAS, r"\(PAD_([HW]), PAD_\1\)", r"(0, 2 * PAD_\1)"),
        *_rule("stride", PALLAS, r"ids\[i\]", "ids[i // 2]", "i", only="lambda"),
    ]  # fmt: skip


def _dropped(pattern: str) -> Replace:
    return lambda match, sizes: re.sub(pattern, "", match[0])


def _axes() -> list[_Rule]:
    decomposed = r"^\s+const (int|long|long long) \w+ = "
    return [
        *_rule("axis", C, r"\[step\]\[line\]", "[line][step]"),
        *_rule("axis", C, r"(?<=\w) / (?=\(?[A-Z])", " % ", only=decomposed),
        *_rule("axis", C, r"(?<=[\w)]) % (?=\(?[A-Z])", " / ", only=decomposed),
        *_rule("axis", C, r"blockIdx\.x|get_group\(2\)|get_group_id\(0\)",
               _swapped_block, only="col_first"),
        *_rule("axis", C, r"blockIdx\.y|get_group\(1\)|get_group_id\(1\)",
               _swapped_block, only="col_first"),
        *_rule("axis", C, r"sum\[i\]\[j\]", "sum[j][i]", only=r"\[.*\] = "),
        *_rule("axis", TRITON, r"(?<=\w) // (?=\(?[A-Z])", " % ", unless="grid"),
        *_rule("axis", TRITON, r"(?<=[\w)]) % (?=\(?[A-Z])", " // "),
        *_rule("axis", TRITON, r"\[:, None\]", "[None, :]"),
        *_rule("axis", TRITON, r"\[None, :\]", "[:, None]"),
        *_rule("axis", TRITON, r"program_id\(0\)", "program_id(1)"),
        *_rule("axis", TRITON, r"program_id\(1\)", "program_id(0)"),
        *_rule("axis", PALLAS, r"axis=1", "axis=0"),
        *_rule("axis", PALLAS, r"(lambda [\w, ]+: )\((\w), (\w)\)", r"\1(\3, \2)"),
        *_rule("axis", PALLAS, r"return \((\w+), (\w+)", r"return (\2, \1"),
        *_rule("axis", PALLAS, r"transpose\(0, 2, 3, 1\)", "transpose(0, 3, 2, 1)"),
        *_rule("axis", PALLAS, r"transpose\(0, 3, 1, 2\)", "transpose(0, 3, 2, 1)"),
        *_rule("axis", PALLAS, r"transpose\(2, 3, 1, 0\)", "transpose(3, 2, 1, 0)"),
        *_rule("axis", PALLAS, r"\(n, p, (0|f), (0|f)\)", r"(p, n, \1, \2)", r"(n, p, \2, \1)"),
        *_rule("axis", PALLAS, r"(iota\(.*), 1\)", r"\1, 0)"),
        *_rule("axis", PALLAS, r"(iota\(.*), 0\)", r"\1, 1)"),
        *_rule("axis", PALLAS, r"weight\[r, s\]", "weight[s, r]"),
        *_rule("axis", PALLAS, r"lines\[r\]", "lines[s]"),
    ]  # fmt: skip


def _swapped_block(match: re.Match[str], sizes: Mapping[str, int]) -> str:
    pairs = {
        "blockIdx.x": "blockIdx.y",
        "get_group(2)": "get_group(1)",
        "get_group_id(0)": "get_group_id(1)",
    }
    return {**pairs, **{b: a for a, b in pairs.items()}}[match[0]]


def _reductions() -> list[_Rule]:
    return [
        *_rule("reduction", C, r"(?<=[\w\]]) \+= (?![A-Z])", " = "),
        *_rule("reduction", C, r"(\w+) = (?:sycl::)?(?:f?max\w*)\(\1, (.*)\);", r"\1 = \2;"),
        *_rule("reduction", C, r"value = value \+ ", "value = "),
        *_rule("reduction", C, r"(scratch\[thread\] = )scratch\[thread\] \+ ", r"\1"),
        *_rule("reduction", C, r"return b > a ", "return b < a "),
        *_rule("reduction", C, r"(candidate|other|scratch\[\w+\]) < (position|value) ",
               r"\1 > \2 "),
        *_rule("reduction", C, r"(mask = \w*LANES|count = \w*THREADS) / 2", r"\1 / 4"),
        *_rule("reduction", C, r"\[thread \+ count\]", "[thread]"),
        *_rule("reduction", C, r"sycl::plus<>", "sycl::maximum<>"),
        *_rule("reduction", C, r"sycl::maximum<>", "sycl::minimum<>"),
        *_rule("reduction", C, r"sycl::minimum<>", "sycl::maximum<>"),
        *_rule("reduction", TRITON, r"tl\.maximum\((parts|best)", r"tl.minimum(\1"),
        *_rule("reduction", TRITON, r"tl\.minimum\((parts)", r"tl.maximum(\1"),
        *_rule("reduction", TRITON, r"parts = parts \+ ", "parts = "),
        *_rule("reduction", TRITON, r"(tl\.dot\(\w+, \w+), total", r"\1"),
        *_rule("reduction", TRITON, r"tl\.sum\((?=parts|\w+, axis)", "tl.max("),
        *_rule("reduction", TRITON, r"tl\.max\((?=value)", "tl.min("),
        *_rule("reduction", TRITON, r"tl\.min\((?=parts)", "tl.max("),
        *_rule("reduction", PALLAS, r" \+= ", " = "),
        *_rule("reduction", PALLAS, r"jnp\.max\(", "jnp.min("),
        *_rule("reduction", PALLAS, r"jnp\.min\(", "jnp.max("),
        *_rule("reduction", PALLAS, r"jnp\.sum\(", "jnp.mean(", "jnp.max("),
        *_rule("reduction", PALLAS, r"jnp\.maximum\(best, tap\)", "jnp.minimum(best, tap)", "tap"),
    ]  # fmt: skip


def _offsets() -> list[_Rule]:
    return [
        *_rule("offset", C, r"(\w+_first) \+ (line|step)", r"\1 + \2 + 1"),
        *_rule("offset", C, r"item \* (\w+)", r"item", r"item * (\1 - 1)"),
        *_rule("offset", C, r"= thread;", "= thread + 1;"),
        *_rule("offset", C, r"\+= (\w*THREADS|\w*TILE_K)\)", r"+= \1 + 1)"),
        *_rule("offset", C, r"\+ \w+ - 1\) / ", ") / ", only="VALUES"),
        *_rule("offset", C, r"\+ my_(row|col)\b", "", only="_first"),
        *_rule("offset", C, r"wave = 1\b", "wave = 2"),
        *_rule("offset", C, r"(THREADS \* \w*ITEMS\) \+ \S*?)(threadIdx\.x|thread)", r"\1 \2 / 2"),
        *_rule("offset", TRITON, r"tl\.arange\(0, (\w+)\)", r"(tl.arange(0, \1) + 1)"),
        *_rule("offset", TRITON, r"(program_id\(\d\)[^*]*) \* (\w+)", r"\1 * (\2 - 1)"),
        *_rule("offset", TRITON, r"first \+ ", ""),
        *_rule("offset", PALLAS, r"(lambda [\w, ]+: )\((\w), (\w)\)", r"\1(\2 + 1, \3)",
               r"\1(\2, \3 + 1)"),
        *_rule("offset", PALLAS, r"return \((\w+_block), ", r"return (\1 + 1, "),
        *_rule("offset", PALLAS, r"step \* (\w+)", r"(step + 1) * \1"),
        *_rule("offset", PALLAS, r"\(n, p, (0|f), (0|f)\)", r"(n, p // 2, \1, \2)"),
    ]  # fmt: skip


def _epilogues() -> list[_Rule]:
    return [
        *_rule("epilogue", C | PYTHON, r" \+ (bias\[[\w.]+\]|bias_value\b)", ""),
        *_rule("epilogue", C | PYTHON, r" \* (weight\[[\w.]+\]|weight_value\b)(?!_)", ""),
        *_rule("epilogue", C | PYTHON, r" - (mean|highest)\b", ""),
        *_rule("epilogue", C | PYTHON, r" \* inverse_deviation", ""),
        *_rule("epilogue", C | PYTHON, r" / (total|\(float\)COLS|COLS)\b", "", unless="VALUES"),
        *_rule("epilogue", C, r" < 0\.0f \? 0\.0f", " < 1.0f ? 0.0f", " > 0.0f ? 0.0f"),
        *_rule("epilogue", PYTHON, r" < 0\.0, 0\.0,", " < 1.0, 0.0,", " > 0.0, 0.0,"),
        *_rule("epilogue", C | PYTHON, r" \+ 1e-05f?", ""),
        *_rule("epilogue", C | PYTHON, r"\b0\.5f? \* ", ""),
        *_rule("epilogue", C | PYTHON, r" \* 0\.707\d+f?", ""),
        *_rule("epilogue", C | PYTHON, r"\bweight = jnp.exp|\bexpf?(?=\()", "fabs", only="fabs"),
        *_rule("epilogue", C | PYTHON, r"\b1\.0f? \+ ", "", only="erf"),
    ]  # fmt: skip


def _scans() -> list[_Rule]:
    return [
        # what earlier stretches hold, dropped or taken alone
        *_rule("scan", C, r"carry = carry [+*] (\w+);", r"carry = \1;", ""),
        *_rule("scan", C, r"ahead = carry [+*] before", "ahead = before", "ahead = carry"),
        *_rule("scan", C, r"(= ahead) [+*] running\[part\]", r"\1"),  # exclusive
        *_rule("scan", C, r"before = front [+*] before", "before = front", ""),
        *_rule("scan", C, r"thread & mask", "!(thread & mask)"),
        *_rule("scan", C, r"wave == thread /", "wave == 1 + thread /"),
        *_rule("scan", C, r"mask \*= 2", "mask *= 4"),
        *_rule("scan", TRITON, r"carry = carry [+*] ", "carry = "),
        *_rule("scan", TRITON, r"(= )carry [+*] (?=tl\.cum)", r"\1"),
        *_rule("scan", TRITON, r"(tl\.cumsum\((\w+), axis=0\))", r"\1 - \2"),  # exclusive
        *_rule("scan", TRITON, r"(tl\.cum\w+\(\w+, axis=0)\)", r"\1, reverse=True)"),
        *_rule("scan", PALLAS, r"(total\[\.\.\.\] = \w+)\[-1:\]", r"\1[:1]"),
        *_rule("scan", PALLAS, r"jnp\.(?:add|multiply)\(total\[\.\.\.\], (\w+)\)", r"\1"),
        *_rule("scan", PALLAS, r"step \*= 2", "step *= 4"),
        # a walk backwards that goes forwards
        *_rule("scan", C | PYTHON, rf"\b({_SIZE}) - 1 - ([a-z]\w*)\b", r"\2"),
    ]  # fmt: skip


def _windows() -> list[_Rule]:
    # positions that a window or a resize reads
    places = r"^\s+(const (int|long long) )?([dhwl]|remainder|position|rows?|cols?)\d* = |jnp\.clip"
    return [
        *_rule("window", C | PYTHON, r"\b(STRIDE\w*)", r"(\1 + 1)", only=places),
        *_rule("window", C | PYTHON, r"\b(PAD\w*)", r"(\1 + 1)", only=places),
        *_rule("window", C | PYTHON, r" \* (DILATION\w*)", "", r" * (\1 + 1)", only=places),
        *_rule("window", C, r" && remainder\d* == 0", ""),
        *_rule("window", TRITON, r" & \(remainder\d* == 0\)", ""),
        *_rule("window", PALLAS, r"\((position\d*) < 1\)", r"(\1 < 2)"),
        # the middle of a pixel, and of which side it lies
        *_rule("window", C | PYTHON, r" - 0\.5f?(?=[);, ])", ""),
        *_rule("window", C | PYTHON, r" \+ 0\.5f?(?=[);, ])", ""),
        *_rule("window", C, r"\bfloorf?\(", "ceilf(", unless=r"sycl"),
        *_rule("window", PYTHON, r"\b(tl|jnp)\.floor\(", r"\1.ceil("),
    ]  # fmt: skip


def _groups() -> list[_Rule]:
    return [
        *_rule("group", C | TRITON, r"\((\w+) \* (\w*GROUPS\w*) \+ (\w+)\)",
               r"(\1 * \2)", r"(\1 + \3)"),
        *_rule("group", C | TRITON, r"\((\w+) \* (\w*GROUP_\w+) \+ (\w+)\)",
               r"(\3)", r"(\1 + \3)"),
        # which keys and values a query's head reads
        *_rule("group", C, r"(?<=\w) / (\(?(?:REPEAT|SHARE|GROUP)\w*)", r" % \1"),
        *_rule("group", PALLAS, r"\bg, ", "0, ", only="return"),
    ]  # fmt: skip


def _causal() -> list[_Rule]:
    return [
        *_rule("causal", C, r"\b([a-z]\w*) <= ([a-z]\w*)(?= \?)",
               r"\1 < \2", r"\1 <= \2 + 1", r"\2 <= \1"),
        *_rule("causal", PYTHON, r"(where\(|^\s+)([a-z]\w*) <= ([a-z]\w*)(?=,)",
               r"\1\2 < \3", r"\1\2 <= \3 + 1", r"\1\3 <= \2"),
    ]  # fmt: skip


def _states() -> list[_Rule]:
    return [
        # momentum: what stays and what comes, exchanged
        *_rule("state", C | PYTHON, r"\b(0\.\d+f?) \* ([^*]+) \+ (0\.\d+f?) \* ",
               r"\3 * \2 + \1 * ", r"\1 * \2 + ", r"\3 * "),
        # n - 1 of an unbiased variance
        *_rule("state", C | PYTHON, rf"/ ((?:\(float\))?)\(({_SIZE}) - 1\)", r"/ \1(\2)"),
        # a counter that stands
        *_rule("state", C, r"(\w+\[0\]) = \1 \+ 1;", r"\1 = \1;"),
        *_rule("state", PYTHON, r"(tracked\w*_value) \+ 1\b", r"\1"),
        *_rule("state", C | PYTHON, r"\(1\.0f? - (\w+)\)", r"\1"),
    ]  # fmt: skip


def _repeats() -> list[_Rule]:
    return [
        *_rule("repeat", C, r"^\s+(\w+) = \w*next\w*;", ""),
        *_rule("repeat", TRITON, r"(\w+), (\w+) = \2, \1$", "pass"),
        # a slice that does not move on
        *_rule("repeat", C, r" \+ (?:t|step|\w+ - 1 - t) \* \([^)]*\)(?=[,)])", ""),
        *_rule("repeat", TRITON, r"(\w+)\[(?:t|\w+ - 1 - t)\](?=[,)])", r"\1[0]"),
        *_rule("repeat", PALLAS, r"(jax\.lax\.scan\(.*length=\w+)\)", r"\1, reverse=True)"),
    ]  # fmt: skip


def _roundings() -> list[_Rule]:
    # Bits cut off instead of a rounding to nearest even, in arithmetic that every target has.
    cut_half = "({0} - 0.00048828125f * fabsf({0}))"
    cut_bf16 = "({0} - 0.00390625f * fabsf({0}))"
    return [
        *_rule("rounding", frozenset({"cuda", "hip"}), r"__float2half\((\w+(?:\[\w+\])*)\)",
               "__float2half" + cut_half.format(r"\1")),
        *_rule("rounding", frozenset({"cuda", "hip"}), r"__float2bfloat16\((\w+(?:\[\w+\])*)\)",
               "__float2bfloat16" + cut_bf16.format(r"\1")),
        # 16-bit sums instead of 32-bit ones
        *_rule("rounding", TRITON, r"(?<=\.to\()tl\.float32\)(?=$|\))",
               "tl.float8e5).to(tl.float32)"),
        *_rule("rounding", PALLAS, r"precision=jax\.lax\.Precision\.HIGHEST",
               "precision=jax.lax.Precision.DEFAULT"),
    ]  # fmt: skip


def _ties() -> list[_Rule]:
    return [
        *_rule("tie", C, r"\b(candidate|position) < (best|position)\b", r"\1 > \2"),
        *_rule("tie", C, r"(\w+) == (\w+\[\w+\]) &&", r"\1 >= 0 * \2 &&"),
        *_rule("tie", TRITON, r"tl\.minimum\((best|parts|position|$)", r"tl.maximum(\1"),
        *_rule("tie", PALLAS, r"jnp\.minimum\((best|position|$)", r"jnp.maximum(\1"),
    ]  # fmt: skip


def _indices() -> list[_Rule]:
    return [
        # counted from the end where below zero
        *_rule("index", C, r"(\w+) < 0 \? \1 \+ \w+ : \1", r"\1"),
        *_rule("index", PYTHON, r"where\((\w+) < 0, \1 \+ \w+, \1\)", r"\1"),
        *_rule("index", C, r"(index\w*\[[^\]]*\]) == (\w+)", r"\1 >= \2", r"\1 == \2 + 1"),
        *_rule("index", PYTHON, r"(index\w*) == (\w+)", r"\1 >= \2", r"\1 == \2 + 1"),
        *_rule("index", C, r"(\w*(?:index|ids|label|target)\w*\[\w+\])(?= ?[*+\]])",
               r"(\1 / 2)"),
        *_rule("index", TRITON, r"\b(\w*(?:index|ids|label|target)\w*_value)(?= ?[*+])",
               r"(\1 // 2)"),
    ]  # fmt: skip


_RULES = _rules()


def mutations(body: str, language: str, sizes: Mapping[str, int]) -> Iterator[Mutation]:
    """Every mutant of `body`, in the order of its lines; `sizes` are those of its size block."""
    seen: set[tuple[int, str]] = set()
    for number, line in enumerate(body.split("\n")):
        if not _counts(line, language) or _past_kernels(line, language):
            if _past_kernels(line, language):
                return
            continue
        code = line.split("  //")[0] if language in C else line.split("  #")[0]
        for rule in _RULES:
            if not _fits(rule, language, code, body):
                continue
            for match in rule.pattern.finditer(code):
                after = _changed(rule, match, code, sizes)
                if after.rstrip() != code.rstrip() and (number, after) not in seen:
                    seen.add((number, after))
                    yield Mutation(rule.kind, number, line, after.rstrip())


def _fits(rule: _Rule, language: str, code: str, body: str) -> bool:
    return (
        language in rule.languages
        and rule.text_has in body
        and (rule.only is None or rule.only.search(code) is not None)
        and (rule.unless is None or rule.unless.search(code) is None)
    )


def _changed(rule: _Rule, match: re.Match[str], code: str, sizes: Mapping[str, int]) -> str:
    text, _, end = rule.replace(match, sizes).partition("\0")
    return code[: match.start()] + text + code[int(end) if end else match.end() :]


def _counts(line: str, language: str) -> bool:
    idle = _IDLE["c" if language in C else "python"]
    return bool(line.strip()) and idle.match(line) is None


def _past_kernels(line: str, language: str) -> bool:
    # The CPU executor of SYCL launches from the steps: what the launcher says is not run there.
    return language == "sycl" and line.startswith("// Submits to")
