"""Accesses beside an array, which interpret mode clamps or drops and a GPU may let pass."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: The runs on a GPU whose kernels show what they access beside an array.
STRAYS = "strays"


@contextmanager
def strays_shown() -> Iterator[None]:
    """A masked load beside an array gives NaN, a masked store there stores NaN everywhere.

    On a GPU the one reads what lies there and the other overwrites it, mostly what nobody uses.
    Integers become their dtype's lowest value. What would be stored beside the array goes to its
    first element.
    """
    jax: Any = importlib.import_module("jax")
    triton: Any = importlib.import_module("jax.experimental.pallas.triton")
    jnp, load, store = jax.numpy, triton.load, triton.store

    def beside(view: Any, mask: Any) -> tuple[Any, Any]:
        """The index into a flat array, and where it is used outside; None for another view."""
        transforms: Any = getattr(view, "transforms", ())
        if len(transforms) != 1 or len(getattr(transforms[0], "shape", ())) != 1:
            return None, None
        (index,) = transforms[0].indices
        if hasattr(index, "stride"):  # a slice
            return None, None
        outside = (index < 0) | (index >= transforms[0].shape[0])
        return index, outside if mask is None else outside & mask

    def poison(dtype: Any) -> Any:
        if jnp.issubdtype(dtype, jnp.floating):
            return jnp.asarray(jnp.nan, dtype)
        return jnp.asarray(dtype == jnp.bool_ or jnp.iinfo(dtype).min, dtype)

    def shown_load(ref: Any, *, mask: Any = None, **named: Any) -> Any:
        found = load(ref, mask=mask, **named)
        _, outside = beside(ref, mask)
        return found if outside is None else jnp.where(outside, poison(found.dtype), found)

    def shown_store(ref: Any, val: Any, *, mask: Any = None, **named: Any) -> None:
        index, outside = beside(ref, mask)
        if outside is not None:
            ref = ref.ref.at[jnp.where(outside, 0, index)]
            # a whole block: another one may set the first element after this one
            spoilt = jnp.max(outside.astype(jnp.int32)) > 0
            val = jnp.where(spoilt, poison(val.dtype), val)
        store(ref, val, mask=mask, **named)

    triton.load, triton.store = shown_load, shown_store
    try:
        yield
    finally:
        triton.load, triton.store = load, store
