"""Words of the C family that show how a kernel works: data for `Backend.traits`."""

from __future__ import annotations

#: A loop that halves or doubles its step: a tree over the threads of a block, or a scan.
TREE = (
    r"\bfor\s*\([^;{}]{0,200};[^;{}]{0,200};"  # bounded: each `for (` may look that far, no further
    r"[^;{}]{0,200}?(?:>>=?|/=?|<<=?|\*=?)\s{0,9}[12]\s{0,9}\)"
)
_SCALARS = "char|uchar|short|ushort|int|uint|long|ulong|longlong|ulonglong|half|float|double"
#: `float4`, `uint2`: also the names of their constructors.
VECTORS = rf"\b(?:make_)?(?:{_SCALARS})(?:2|4|8|16)\b"

#: What the two dialects with CUDA's names have in common.
SHARED = r"\b__shared__\b"
SHUFFLES = r"\b__shfl(?:_\w+)?\b|\b__reduce_\w+_sync\b|\b(?:cg|cooperative_groups)::reduce\b"
ATOMICS = r"\b(?:unsafe)?atomic(?:Add|Sub|Min|Max|Inc|Dec|Exch|CAS|And|Or|Xor)(?:_\w+)?\b"
