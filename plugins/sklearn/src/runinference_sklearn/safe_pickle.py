"""Unpickle scikit-learn models without running code that the file brings along.

A pickle is a program: it names functions and classes, and calls them. This unpickler refuses every
name that is not on a list (see :mod:`runinference_sklearn.allowed`) before anything is called. It
reads what ``pickle`` and ``joblib`` write, compressed or not.

It keeps a file from running something. Whether the arrays in it make sense to scikit-learn's
compiled code is looked at afterwards, for the most common models (see
:mod:`runinference_sklearn.structures`): load the files of strangers in a process of their own.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Collection
from typing import Any, BinaryIO

import numpy as np
from joblib.numpy_pickle import NumpyArrayWrapper, NumpyUnpickler

from runinference_sklearn.allowed import is_allowed
from runinference_sklearn.compressed import decompress

__all__ = ["BlockedNameError", "loads"]


class BlockedNameError(pickle.UnpicklingError):
    """A pickle names something that is not on the list.

    Attributes:
        name: its module and name, with a dot between.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def loads(data: bytes, trusted: Collection[str] = ()) -> Any:
    """The object in a file that ``pickle`` or ``joblib`` wrote.

    Args:
        data: the file's content.
        trusted: names allowed besides those on the list, ``package.module.Class``.

    Raises:
        BlockedNameError: the file names something else.
        Exception: the file is damaged; of almost any type.
    """
    return _Unpickler(io.BytesIO(decompress(data)), frozenset(trusted)).load()


class _ArrayType:
    """Stands for ``numpy.ndarray``, which makes objects of bytes when it is called."""


class _DataType:
    """Stands for a ``numpy.dtype`` until its state is read.

    A data type believes its state, and one that contradicts itself reads memory that is not its
    own. What numpy makes of the same parts is sound.
    """

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        self.code = code

    def build(self, state: tuple[Any, ...]) -> np.dtype[Any]:
        _, order, subarray, names, fields, size, _, flags = state[:8]
        if subarray is not None:
            base, shape = subarray
            return np.dtype((_known(base), shape))
        if names is not None:
            parts = [fields[name] for name in names]
            return np.dtype(
                {
                    "names": list(names),
                    "formats": [_known(part[0]) for part in parts],
                    "offsets": [part[1] for part in parts],
                    "itemsize": size,
                    "aligned": bool(flags & _ALIGNED),
                }
            )
        made = np.dtype(str(self.code))
        if made.kind in "mM":
            unit, count, *_ = state[8][1]
            unit = unit.decode("ascii") if isinstance(unit, bytes) else unit
            made = np.dtype(made.char if unit == "generic" else f"{made.char}8[{count}{unit}]")
        return made if order in "|=" else made.newbyteorder(order)


_ALIGNED = 0x80  # as numpy's own flag of structures


class _Unpickler(NumpyUnpickler):  # type: ignore[misc]  # joblib has no types
    """joblib's, which reads plain pickles too, with a list of names.

    An array gets its state once, before anything else can refer to it: a state set later would
    leave others with memory that is no longer its own.
    """

    dispatch = NumpyUnpickler.dispatch.copy()

    def __init__(self, file: BinaryIO, trusted: frozenset[str]) -> None:
        super().__init__("", file, ensure_native_byte_order=True)
        self.trusted = trusted
        self._named: list[Any] = []
        self._incomplete: list[Any] = []
        self._replacements = {
            ("_codecs", "encode"): _encode,
            ("builtins", "getattr"): _getattr,
            ("joblib.numpy_pickle", "NumpyArrayWrapper"): _ArrayWrapper,
            ("numpy", "dtype"): _DataType,
            ("numpy", "ndarray"): _ArrayType,
            ("numpy._core.multiarray", "_reconstruct"): self._array,
            ("numpy.ma.core", "_mareconstruct"): self._masked_array,
        }

    def load(self) -> Any:
        try:
            return super().load()
        finally:
            # it refers to itself through methods that it keeps, beside all that it has read: a
            # model that is closed would stay until the garbage collector's next full round
            self.__dict__.clear()

    def find_class(self, module: str, name: str) -> Any:
        module = _MOVED_MODULES.get(module, module)
        found = self._replacements.get((module, name))
        if found is None:
            if f"{module}.{name}" not in self.trusted and not is_allowed(module, name):
                raise BlockedNameError(f"{module}.{name}")
            found = super().find_class(module, name)
        self._named.append(found)
        return found

    def load_build(self) -> None:
        target = self.stack[-2]
        if _is_among(target, self._named):  # would change a class or a function for everybody
            raise pickle.UnpicklingError(f"a state for {target!r:.100}")
        if isinstance(target, _DataType):
            made = target.build(self.stack.pop())
            self.stack[-1] = made
            for key in [key for key, value in self.memo.items() if value is target]:
                self.memo[key] = made
            return
        if isinstance(target, np.dtype | np.ndarray):
            if not _is_among(target, self._incomplete):
                raise pickle.UnpicklingError(f"a second state for a {type(target).__name__}")
            self._incomplete = [other for other in self._incomplete if other is not target]
        super().load_build()

    def load_binget(self) -> None:
        super().load_binget()
        self._check_complete()

    def load_long_binget(self) -> None:
        super().load_long_binget()
        self._check_complete()

    def load_get(self) -> None:
        super().load_get()
        self._check_complete()

    def load_dup(self) -> None:
        super().load_dup()
        self._check_complete()

    for _opcode, _load in (
        (pickle.BUILD, load_build),
        (pickle.BINGET, load_binget),
        (pickle.LONG_BINGET, load_long_binget),
        (pickle.GET, load_get),
        (pickle.DUP, load_dup),
    ):
        dispatch[_opcode[0]] = _load

    def _check_complete(self) -> None:
        if _is_among(self.stack[-1], self._incomplete):
            raise pickle.UnpicklingError("an array that is used without its state")

    def _array(self, kind: type, shape: tuple[int, ...], code: bytes) -> np.ndarray[Any, Any]:
        if kind not in (_ArrayType, np.matrix):
            raise BlockedNameError(f"{kind.__module__}.{kind.__qualname__}")
        made = np.ndarray.__new__(np.matrix if kind is np.matrix else np.ndarray, (0,), "b")
        self._incomplete.append(made)
        return made

    def _masked_array(self, kind: type, base: type, shape: Any, code: Any) -> np.ma.MaskedArray:
        made = np.ma.MaskedArray(np.empty(0, "b"), mask=np.empty(0, bool))
        self._incomplete.append(made)
        return made


class _ArrayWrapper(NumpyArrayWrapper):  # type: ignore[misc]  # joblib has no types
    """Stands before the bytes of an array in joblib's files."""

    def read_array(self, unpickler: _Unpickler, ensure_native_byte_order: bool) -> Any:
        # An array of Python objects is a pickle of its own within the file.
        if self.dtype.hasobject:
            return _Unpickler(unpickler.file_handle, unpickler.trusted).load()
        return super().read_array(unpickler, ensure_native_byte_order)


def _known(part: Any) -> np.dtype[Any]:
    if not isinstance(part, np.dtype):
        raise pickle.UnpicklingError(f"{part!r:.100} for a data type")
    return part


def _is_among(candidate: Any, objects: list[Any]) -> bool:
    return any(candidate is other for other in objects)


def _getattr(owner: Any, name: str) -> Any:
    """Stands for ``getattr``, which a pickle names to reach a method of an object in it."""
    # A gradient booster that watched a score while it was fitted keeps this one.
    if name == "_raw_predict":
        return getattr(owner, name)
    raise BlockedNameError("builtins.getattr")


def _encode(text: str, encoding: str) -> bytes:
    """Stands for ``_codecs.encode``, which writes bytes where a pickle's protocol has none."""
    if encoding == "latin1":
        return text.encode(encoding)
    raise BlockedNameError("_codecs.encode")


_MOVED_MODULES = {
    # protocol 2 has the names of Python 2
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    # numpy before 2
    "numpy.core._multiarray_umath": "numpy._core._multiarray_umath",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
    # as scikit-learn before 1.7 wrote it
    "_loss": "sklearn._loss._loss",
}
