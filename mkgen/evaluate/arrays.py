"""Arrays between processes: one raw file each, and `index.json` with names, dtypes and shapes.

The reading side trusts nothing: the files may have been written by a process that runs a
candidate. So there is no pickle and no header to parse, and sizes are checked before reading.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import ml_dtypes
import numpy as np

from mkgen.errors import ExecutionError
from mkgen.reading import json_value

#: Every `Dtype` of a program as numpy has it.
DTYPES: dict[str, np.dtype] = {
    **{
        name: np.dtype(name)
        for name in (
            "float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool",
        )
    },
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}  # fmt: skip

_MAX_INDEX_BYTES = 1 << 20


def is_floating(dtype: np.dtype) -> bool:
    """Whether `dtype` is a floating type; numpy does not count bfloat16 among them."""
    return dtype.kind == "f" or dtype == DTYPES["bfloat16"]


def save_arrays(directory: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes `arrays` into `directory`, which is made."""
    directory.mkdir(parents=True, exist_ok=True)
    index = []
    for number, (name, array) in enumerate(arrays.items()):
        file = f"{number}.bin"
        # viewed as bytes, because tofile refuses dtypes that numpy does not know itself
        contiguous = np.ascontiguousarray(array)
        contiguous.reshape(-1).view(np.uint8).tofile(directory / file)
        index.append(
            {"name": name, "dtype": array.dtype.name, "shape": list(array.shape), "file": file}
        )
    (directory / "index.json").write_text(json.dumps(index))


def load_arrays(directory: Path) -> dict[str, np.ndarray]:
    """The arrays in `directory`, as private copies. ExecutionError when they are not as stated."""
    try:
        index = json_value(_read(directory / "index.json", _MAX_INDEX_BYTES))
        files = [entry["file"] for entry in index]
        if len(set(files)) != len(files):  # a small index could claim one large file many times
            raise ValueError("two arrays are said to lie in one file")
        return {str(entry["name"]): _load(directory, entry) for entry in index}
    except (OSError, ValueError, KeyError, TypeError, MemoryError) as error:
        raise ExecutionError(
            f"the worker's arrays cannot be read: {type(error).__name__}: {error}"
        ) from error


def _load(directory: Path, entry: dict[str, object]) -> np.ndarray:
    name, shape, file = str(entry["name"]), entry["shape"], str(entry["file"])
    dtype = DTYPES.get(str(entry["dtype"]))
    if dtype is None:
        raise ValueError(f"array {name!r} has the dtype {entry['dtype']!r}, which mkgen has not")
    if not isinstance(shape, list) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError(f"array {name!r} has the shape {shape!r}")
    if Path(file).name != file:
        raise ValueError(f"array {name!r} lies outside its directory")
    size = math.prod(shape) * dtype.itemsize
    handle = _open(directory / file)
    with os.fdopen(handle, "rb", buffering=0) as stream:
        if os.fstat(handle).st_size != size:
            raise ValueError(f"array {name!r} has {os.fstat(handle).st_size} bytes, not {size}")
        data = np.empty(size, np.uint8)  # not before: the index may claim any size
        _fill(stream.fileno(), data, name)
    return data.view(dtype).reshape(shape)


def _fill(handle: int, data: np.ndarray, name: str) -> None:
    view, done = data.data, 0
    while done < len(view):
        count = os.readv(handle, [view[done : done + (1 << 30)]])
        if count == 0:
            raise ValueError(f"array {name!r} ends early")
        done += count


def _open(path: Path) -> int:
    # neither a symbolic link nor a pipe: one would lead elsewhere, the other would block for ever
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ValueError(f"{path.name} is not a regular file")
    return handle


def _read(path: Path, limit: int) -> bytes:
    with os.fdopen(_open(path), "rb") as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{path.name} is larger than {limit} bytes")
    return data
