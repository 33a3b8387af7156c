"""Arrays between processes: one raw file each, and `index.json` with names, dtypes and shapes.

The reading side trusts nothing: the files may have been written by a process that runs a
candidate. So there is no pickle and no header to parse, and sizes are checked before reading.
"""

from __future__ import annotations

import json
import math
import os
import shutil
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


def load_arrays(directory: Path, limit: int | None = None) -> dict[str, np.ndarray]:
    """The arrays in `directory`, as private copies; of at most `limit` bytes together.

    ExecutionError when they are not as stated.
    """
    try:
        place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return _load_all(place, limit)
        finally:
            os.close(place)
    except (OSError, ValueError, KeyError, TypeError, MemoryError) as error:
        raise ExecutionError(
            f"the worker's arrays cannot be read: {type(error).__name__}: {error}"
        ) from error


def take_file(path: Path, place: Path, directory: Path) -> Path:
    """A copy in `directory` of `path`, a file that a worker made in `place`. ValueError, OSError.

    Nothing else is copied: no file that the worker only names, and none that a link leads to.
    """
    if not path.is_relative_to(place) or ".." in path.parts:
        raise ValueError(f"{path} is not where it should be")
    inner = path.relative_to(place)
    handles = [os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)]
    try:
        for part in inner.parts[:-1]:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            handles.append(os.open(part, flags, dir_fd=handles[-1]))
        target = directory / path.name
        source = os.fdopen(_open(path.name, handles[-1]), "rb")
        with source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
        return target
    finally:
        for handle in handles:
            os.close(handle)


def _load_all(place: int, limit: int | None) -> dict[str, np.ndarray]:
    index = json_value(_read("index.json", place, _MAX_INDEX_BYTES))
    if not isinstance(index, list):
        raise ValueError("index.json is not a list")
    files = [str(entry["file"]) for entry in index]
    if len(set(files)) != len(files):  # a small index could claim one large file many times
        raise ValueError("two arrays are said to lie in one file")
    arrays: dict[str, np.ndarray] = {}
    left = limit
    for entry in index:
        name, dtype, shape = _stated(entry)
        size = math.prod(shape) * dtype.itemsize
        if left is not None:
            left -= size
            if left < 0:
                raise ValueError(f"with {name!r} they have more than {limit} bytes")
        if name in arrays:
            raise ValueError(f"array {name!r} is there twice")
        arrays[name] = _load(place, str(entry["file"]), name, size).view(dtype).reshape(shape)
    return arrays


def _stated(entry: dict[str, object]) -> tuple[str, np.dtype, list[int]]:
    name, shape = str(entry["name"]), entry["shape"]
    dtype = DTYPES.get(str(entry["dtype"]))
    if dtype is None:
        raise ValueError(f"array {name!r} has the dtype {entry['dtype']!r}, which mkgen has not")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"array {name!r} has the shape {shape!r}")
    return name, dtype, shape


def _load(place: int, file: str, name: str, size: int) -> np.ndarray:
    if Path(file).name != file:
        raise ValueError(f"array {name!r} lies outside its directory")
    handle = _open(file, place)
    with os.fdopen(handle, "rb", buffering=0):
        if os.fstat(handle).st_size != size:
            raise ValueError(f"array {name!r} has {os.fstat(handle).st_size} bytes, not {size}")
        data = np.empty(size, np.uint8)  # not before: the index may claim any size
        _fill(handle, data, name)
    return data


def _fill(handle: int, data: np.ndarray, name: str) -> None:
    view, done = data.data, 0
    while done < len(view):
        count = os.readv(handle, [view[done : done + (1 << 30)]])
        if count == 0:
            raise ValueError(f"array {name!r} ends early")
        done += count


def _open(name: str, place: int) -> int:
    # neither a symbolic link nor a pipe: one would lead elsewhere, the other would block for ever
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(name, flags, dir_fd=place)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ValueError(f"{name} is not a regular file")
    return handle


def _read(name: str, place: int, limit: int) -> bytes:
    with os.fdopen(_open(name, place), "rb") as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{name} is larger than {limit} bytes")
    return data
