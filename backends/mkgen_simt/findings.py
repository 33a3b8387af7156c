"""What sanitizers print, as one line that names the kernel's line, the fault and the buffer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mkgen.errors import ExecutionError, SanitizerError
from mkgen_simt.dwarf_lines import Lines

_ERROR = re.compile(r"ERROR: AddressSanitizer: (\S+)(?: on (?:unknown )?address (0x[0-9a-f]+))?")
_ACCESS = re.compile(r"^(READ|WRITE) of size (\d+)", re.MULTILINE)
_FRAME = re.compile(r"^\s+#\d+ 0x[0-9a-f]+\s.*\(([^()]*)\+(0x[0-9a-f]+)\)", re.MULTILINE)
_VARIABLE = re.compile(
    r"is located (\d+) bytes (?:to the )?(right of|left of|after|before|inside of) "
    r"global variable '([^']+)'.*of size (\d+)"
)
_UNDEFINED = re.compile(r"^([^\s:][^:\n]*):(\d+):\d+: runtime error: (.*)$", re.MULTILINE)
_PLACE = re.compile(r"^mkgen: place: (.*)$", re.MULTILINE)
_DYNAMIC = re.compile(r"^mkgen: dynamic: (\d+) (\d+)$", re.MULTILINE)
_FAULT = re.compile(r"^mkgen: fault: (.*)$", re.MULTILINE)
_FAULT_LINE = re.compile(r"\(line (\d+)\)")
#: Farther from a buffer than this an address has nothing to do with it.
_NEAR = 1 << 16

_KINDS = {
    "global-buffer-overflow": "out of bounds of static memory",
    "stack-buffer-overflow": "out of bounds of a local array",
    "stack-buffer-underflow": "out of bounds of a local array",
    "dynamic-stack-buffer-overflow": "out of bounds of a local array",
    "stack-use-after-scope": "a local variable is used after its scope",
    "SEGV": "a wild address",
    "FPE": "an integer is divided by zero",
}


@dataclass(frozen=True)
class Region:
    """Memory that has a name."""

    name: str
    """`buffer 'y'`."""
    address: int
    size: int

    def beside(self, address: int) -> tuple[int, str]:
        """How far `address` is from it, and that in words."""
        told = f"{self.name} of {self.size} bytes"
        if address < self.address:
            return self.address - address, f"{self.address - address} bytes before {told}"
        behind = address - self.address - self.size
        return max(0, behind), f"{behind} bytes after {told}"


def nearest_region(regions: Sequence[Region], address: int) -> str:
    """`4 bytes after buffer 'y' of 256 bytes`; empty when `address` is near none."""
    if not regions:
        return ""
    distance, told = min(region.beside(address) for region in regions)
    return told if distance <= _NEAR else ""


def fault_of(text: str, source: str) -> ExecutionError:
    """What the SIMT machine says of a run: a finding when a kernel is at fault."""
    if text.startswith("finding: "):
        return SanitizerError(text.removeprefix("finding: "))
    line = _FAULT_LINE.search(text)
    if not text.startswith("kernel "):
        return ExecutionError(text)
    return SanitizerError(f"{source} line {line[1]}: {text}" if line else f"{source}: {text}")


def address_sanitizer_finding(
    log: str, source: str, lines: Lines, regions: Sequence[Region]
) -> ExecutionError | None:
    """What `log`, the stderr of a text built with ASan and UBSan, reports; None for nothing.

    `source` is the name of the file of the text, `regions` the buffers of the run.
    """
    place = _PLACE.search(log)
    where = f"; {place[1]}" if place else ""
    undefined = _UNDEFINED.search(log)
    if undefined is not None:
        file = undefined[1].rpartition("/")[2]
        return SanitizerError(f"{file} line {undefined[2]}: undefined: {undefined[3]}{where}")
    error = _ERROR.search(log)
    if error is None:
        fault = _FAULT.search(log)
        return fault_of(fault[1], source) if fault else None
    return SanitizerError(_told(log, error, source, lines, regions) + where)


def _told(
    log: str, error: re.Match[str], source: str, lines: Lines, regions: Sequence[Region]
) -> str:
    access = _ACCESS.search(log)
    doing = f"{access[1].lower()}s {access[2]} bytes" if access else "reads or writes"
    dynamic = _DYNAMIC.search(log)
    named = list(regions)
    if dynamic:
        named.append(Region("dynamic shared memory", int(dynamic[1]), int(dynamic[2])))
    kind = _KINDS.get(error[1], "out of bounds")
    # several variables lie about, and it tells of each how far
    variable = min(_VARIABLE.finditer(log), key=lambda m: int(m[1]), default=None)
    beside = nearest_region(named, int(error[2], 16)) if error[2] else ""
    if variable:
        side = {"right of": "after", "left of": "before"}.get(variable[2], variable[2])
        beside = f"{variable[1]} bytes {side} {variable[3]!r} of {variable[4]} bytes"
        kind = "out of bounds of static shared memory"
    elif beside:
        kind = "out of bounds"
    numbers = (lines.line(int(offset, 16) - 1) for _, offset in _FRAME.findall(log))
    line = next((n for n in numbers if n), 0)
    at = f"{source} line {line}" if line else source
    return f"{at}: {kind}: {doing}" + (f" {beside}" if beside else f" ({error[1]})")
