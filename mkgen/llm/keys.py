"""API keys: found in the environment when they are sent, and taken out of whatever is kept."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from mkgen.codegen.registry import backends
from mkgen.errors import UserError
from mkgen.evaluate.process import reaches_workers

#: Variables that are looked at where --api-key-env names none.
KEY_NAMES = ("MKGEN_API_KEY", "OPENAI_API_KEY")
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_LOOKS_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL")
#: Shorter values are dummies for servers that want any key; `none` may stand in every other text.
_SHORTEST = 12


def checked_key_name(name: str) -> str:
    """`name` if it can name the variable of a key. UserError, which does not repeat it.

    Someone may have given the key in place of its variable's name. A name without KEY, TOKEN or
    the like could be of a variable that worker processes get.
    """
    if not _NAME.fullmatch(name):
        raise UserError(
            "--api-key-env takes the NAME of an environment variable (capital letters, digits, _), "
            "never the key itself"
        )
    variables = tuple(v for backend in backends().values() for v in backend.variables)
    if reaches_workers(name, variables):
        raise UserError(
            f"--api-key-env {name}: worker processes would get this variable; choose a name with "
            "KEY or TOKEN in it"
        )
    return name


def key_of(names: Sequence[str]) -> tuple[str, str] | None:
    """The first of the variables `names` that is set, and its value; None when none is.

    ValueError names a variable whose value cannot be sent in a header.
    """
    for name in names:
        value = os.environ.get(name, "").strip()
        if value:
            if not all("!" <= letter <= "~" for letter in value):
                raise ValueError(f"{name} holds characters that no key has")
            return name, value
    return None


def redacted(text: str, names: Sequence[str] = ()) -> str:
    """`text` with the values of secret variables replaced by their names in brackets.

    Secret are `names`, and all whose name says so.
    """
    found = {
        value.strip(): name
        for name, value in os.environ.items()
        if (name in names or _LOOKS_SECRET.search(name)) and len(value.strip()) >= _SHORTEST
    }
    for value in sorted(found, key=len, reverse=True):  # one may be the beginning of another
        text = text.replace(value, f"[{found[value]}]")
    return text
