"""What a result depends on, as text: the code of functions, and the values that they use.

`sweep` stores each run under a hash of it, so that a run is done again when something that
determines it has changed. The reader's code is taken as it is loaded, so what is stored is what has
run, whatever the files say by now. Its comments and layout do not count, nor does the device, nor
the version of torch or another library.
"""

import contextlib
import dis
import enum
import functools
import hashlib
import importlib
import inspect
import os
import sys
import types
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from memhelpers.errors import ArgumentError

_PACKAGE = __name__.partition(".")[0]
_PLAIN = (type(None), bool, int, float, complex, str, bytes, range, slice)
_PLAIN += (torch.dtype, np.dtype, np.generic, enum.Enum)
_ALLOWED = (
    "what can be pinned down: numbers, texts, tuples, lists, dicts, arrays, tensors, tables, data "
    "sets and functions; make anything else inside the function, or pass what it is made from as a "
    "parameter of the run"
)

Parts = Iterable[tuple[object, Any]]  # what a thing refers to, each with its name there


def lines(named: Mapping[str, Any]) -> list[str]:
    """A line for each of the named functions and values, and one for this package.

    Of a function or class of the reader's its code counts, and what that refers to by globals,
    closures and defaults, in modules as in a notebook. Of an installed library the name counts, and
    this package as a whole, but for `runs`, which changes no result.

    Raises:
        ArgumentError: a value that cannot be pinned down, such as an open file or a random
            generator.
    """
    walk = Walk()
    found = [f"{name} = {walk.pin(value, name)}" for name, value in named.items()]
    return [*found, f"{_PACKAGE} = source {_SOURCE}"]


def digest(*parts: str | bytes | memoryview) -> str:
    """16 hexadecimal digits for some texts."""
    hashed = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        hashed.update(f"{len(content)}|".encode())
        hashed.update(content)
    return hashed.hexdigest()[:16]


def _of_package() -> str:
    """Digest of the files of this package, without this folder, which changes no result."""
    here = Path(__file__).parent
    files = sorted(file for file in here.parent.rglob("*.py") if file.parent != here)
    return digest(*(file.read_bytes() for file in files))


_SOURCE = _of_package()  # as it is imported; what is edited later does not run


def architecture(network: nn.Module, walk: "Walk") -> tuple[Hashable, ...]:
    """What a template computes: its layers, their settings (see `Walk.pin`) and sizes."""
    parts: list[Hashable] = [repr(network)]
    for name, layer in network.named_modules():
        settings = {k: v for k, v in vars(layer).items() if k[0] != "_" and k != "training"}
        parts += [type(layer), name, walk.pin(settings, name)]
    parts += [f"{name} {list(p.shape)} {p.requires_grad}" for name, p in network.named_parameters()]
    parts += [f"{name} {_of_tensor(buffer)}" for name, buffer in network.named_buffers()]
    return tuple(parts)


class Walk:
    """One walk over all that is referred to, each once; not to be used again after an error."""

    def __init__(self) -> None:
        self.tokens: dict[Any, str] = {}  # of functions and classes

    def pin(self, value: Any, path: str) -> str:
        """A short text that changes with the value; `path` names it in errors."""
        followed = isinstance(value, types.FunctionType | type)
        if followed and value in self.tokens:
            return self.tokens[value]
        token, parts = _followed(value) if followed else _apart(value, path)
        if followed:
            self.tokens[value], path = token, value.__name__  # at once: it may refer to itself
        if held := sorted(f"{k} = {self.pin(part, f'{path}: {k}')}" for k, part in parts):
            token = f"{token} {digest(*held)}"
        if followed:
            self.tokens[value] = token
        return token


def _apart(value: Any, path: str) -> tuple[str, Parts]:
    """What a value is, and the values that it is made of."""
    kind = type(value).__name__
    if isinstance(value, _PLAIN):
        text = repr(value)
        return text if len(text) <= 60 else f"{kind} {digest(text)}", ()
    if isinstance(value, torch.device):
        return kind, ()  # where is no part of what
    if isinstance(value, Tensor):
        return _of_tensor(value), ()
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return f"array {digest(str(value.dtype), str(value.shape), value.tobytes())}", ()
    if isinstance(value, pd.DataFrame | pd.Series):
        table = pd.DataFrame(value).reset_index(allow_duplicates=True)
        return kind, enumerate((name, column.to_numpy()) for name, column in table.items())
    if isinstance(value, Path):
        if not value.is_file():
            raise ArgumentError(path, str(value), "a file that is there")
        return f"file {digest(value.read_bytes())}", ()
    if isinstance(value, Mapping):
        return kind, enumerate(value.items())
    if isinstance(value, set | frozenset):
        return kind, (("item", item) for item in value)
    if isinstance(value, list | tuple | np.ndarray):
        return kind, enumerate(value)
    if isinstance(value, types.ModuleType):
        own = _is_own(value.__name__) and getattr(value, "__file__", None)
        return f"module {value.__name__} {digest(Path(own).read_bytes()) if own else ''}", ()
    if inner := _inside(value):
        return kind, inner
    if is_dataclass(value):
        state = [(one.name, getattr(value, one.name)) for one in fields(value) if one.init]
        return kind, [("type", type(value)), *state]
    name, bound = getattr(value, "__qualname__", ""), getattr(value, "__self__", None)
    module = getattr(value, "__module__", None) or type(value).__module__
    free = bound is None or isinstance(bound, type | types.ModuleType)
    if callable(value) and name and free and not _is_own(module):
        return f"library {module}.{name}", ()  # not written in Python
    raise ArgumentError(path, value, _ALLOWED)


def _followed(value: types.FunctionType | type) -> tuple[str, Parts]:
    """What a function or a class is, and all that it refers to."""
    is_class, name = isinstance(value, type), value.__name__
    # Not `__module__`, which decorators such as `torch.no_grad()` copy from what they wrap.
    module = value.__module__ if is_class else value.__globals__.get("__name__", "")
    if _is_own(module):
        if is_class:
            return f"class {name}", _members(value)
        return f"function {name} {_of_code(value.__code__)}", [*_bound(value), *_globals(value)]
    token = f"library {module}.{value.__qualname__}"
    if is_class:
        return token, ()
    if module.startswith(_PACKAGE):
        return token, _bound(value)
    return token, _inside(value)


def _of_tensor(tensor: Tensor) -> str:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    content = flat.view(torch.uint8).numpy().data if flat.numel() else b""
    return f"tensor {digest(str(tensor.dtype), str(list(tensor.shape)), content)}"


def _inside(value: Any) -> Parts:
    """What a partial, a cached or decorated function, a method of a class or a property holds."""
    holders = (functools.partial, functools.cached_property, property)
    if isinstance(value, holders) or callable(getattr(value, "__wrapped__", None)):
        names = ("func", "args", "keywords", "fget", "fset", "__wrapped__")
        return [(name, getattr(value, name)) for name in names if hasattr(value, name)]
    return ()


def _bound(function: types.FunctionType) -> list[tuple[str, Any]]:
    """Closures and defaults."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    held = [(name, cell.cell_contents) for name, cell in cells]
    return [*held, ("defaults", (function.__defaults__, function.__kwdefaults__))]


def _globals(function: types.FunctionType) -> list[tuple[str, Any]]:
    """What a function names: globals, and what it takes from modules of the reader's own."""
    codes = list(_codes(function.__code__))
    steps = [(s.opname, s.argval) for code in codes for s in dis.get_instructions(code)]
    loaded = {name for step, name in steps if step in ("LOAD_GLOBAL", "LOAD_NAME")}
    found = {k: function.__globals__[k] for k in loaded & function.__globals__.keys()}
    for module in {name for step, name in steps if step == "IMPORT_NAME"}:
        with contextlib.suppress(Exception):  # whatever an import raises, the run will tell
            found[module] = importlib.import_module(module)
    names, waiting = {name for code in codes for name in code.co_names}, dict(found)
    while waiting:
        path, module = waiting.popitem()
        if inspect.ismodule(module) and _is_own(module.__name__):
            inner = {f"{path}.{k}": vars(module)[k] for k in vars(module).keys() & names}
            waiting |= {k: v for k, v in inner.items() if k not in found}
            found |= inner
    return sorted(found.items())


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    """Bases, functions and values of a class, without what Python and `dataclass` generate."""
    yield "bases", kind.__bases__
    for name, value in vars(kind).items():
        if isinstance(value, types.FunctionType):
            if value.__code__.co_filename != "<string>":
                yield name, value
        elif not name.startswith(("__", "_abc_")) and not inspect.ismemberdescriptor(value):
            yield name, value
    for field in fields(kind) if is_dataclass(kind) else ():
        if field.default_factory is not MISSING:
            yield f"{field.name} made by", field.default_factory


def _is_own(module: str) -> bool:
    """Whether it is the reader's: a notebook or script, or a module that is not installed."""
    top = module.partition(".")[0]
    place = getattr(sys.modules.get(top), "__file__", None) or ""
    path = os.path.realpath(place)  # an environment may link to packages that lie elsewhere
    installed = f"-packages{os.sep}" in path or top in sys.stdlib_module_names
    return top == "__main__" or not (installed or top == _PACKAGE)


def _of_code(code: types.CodeType) -> str:
    """Digest of a function's instructions, wherever they stand."""
    text = ""
    for one in _codes(code):
        names = (one.co_name, one.co_names, one.co_varnames, one.co_freevars)
        counts = (one.co_argcount, one.co_kwonlyargcount, one.co_flags)
        # A set is in another order in each process.
        constants = [sorted(map(repr, c)) if isinstance(c, frozenset) else c for c in one.co_consts]
        plain = [repr(c) for c in constants if not isinstance(c, types.CodeType)]
        text += f"{one.co_code.hex()} {one.co_exceptiontable.hex()} {names} {counts} {plain}\n"
    return digest(text)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A function's code and that of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)
