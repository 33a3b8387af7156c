"""Counting tokens without anyone's tokenizer."""

from __future__ import annotations


def estimated_tokens(text: str) -> int:
    """About how many tokens `text` has: a quarter of its bytes, as for English and code.

    Vendors' tokenizers differ by some 20 %; none is asked, so that counting needs no network.
    """
    return -(-len(text.encode()) // 4)
