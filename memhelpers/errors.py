"""The errors of the package, and the small checks that raise them.

Every step of the data flow checks its arguments here, so that a reader who changes a cell gets one
message of one form: the argument, what was given, what is allowed.
"""

import math
import numbers
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any


class _Repr(reprlib.Repr):
    def repr_instance(self, given: Any, level: int) -> str:
        """Of a large array, tensor or table what it is, not its numbers; of a number no type."""
        if hasattr(given, "__array__") and not isinstance(given, type):
            if isinstance(given, numbers.Number):
                return str(given)
            if math.prod(getattr(given, "shape", ())) > 10:
                kind = f", {given.dtype}" if hasattr(given, "dtype") else ""
                return f"{type(given).__name__} of shape {list(given.shape)}{kind}"
        return super().repr_instance(given, level)


_REPR = _Repr()
_REPR.maxstring = _REPR.maxother = 200


class ArgumentError(ValueError):
    """An argument is outside what is allowed.

    Args:
        argument: its name, as the caller writes it.
        given: the offending value (shown shortened when long).
        allowed: what is allowed, in words.
    """

    def __init__(self, argument: str, given: object, allowed: str) -> None:
        # All three go to BaseException, so that the error survives a trip between processes.
        super().__init__(argument, given, allowed)
        self.argument, self.given, self.allowed = argument, given, allowed

    def __str__(self) -> str:
        given = " ".join(_REPR.repr(self.given).split())  # in one line, not too long
        given = given if len(given) <= 200 else f"{given[:197]}..."
        return f"{self.argument}: given {given}; allowed: {self.allowed}"


class DataError(RuntimeError):
    """A data file is missing, truncated, altered, or cannot be downloaded."""


class RecordError(RuntimeError):
    """A recorded run cannot be written or read back as it was."""


class ClaimError(LookupError):
    """A claim is not declared in the claims file."""


# Each check returns the value in its plain type, or raises an `ArgumentError`.


def check_fraction(argument: str, value: object) -> float:
    """Returns `value` as a float from 0 to 1; no bool."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ArgumentError(argument, value, "a fraction between 0 and 1")
    return float(value)


def check_integer(argument: str, value: object, low: int, high: int | None = None) -> int:
    """Returns `value` as an int from `low` to `high` (None: no upper bound); no bool."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        allowed = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ArgumentError(argument, value, f"an integer {allowed}")
    return int(value)


def check_positive_int(argument: str, value: object) -> int:
    """Returns `value` as an int of at least 1."""
    return check_integer(argument, value, 1)


def check_seed(argument: str, value: object) -> int:
    """Returns `value` as a non-negative int that a 64-bit generator takes as its seed."""
    return check_integer(argument, value, 0, 2**63 - 1)


def check_positive(argument: str, value: object) -> float:
    """Returns `value` as a finite float above 0."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not math.isfinite(value) or value <= 0:
        raise ArgumentError(argument, value, "a finite number above 0")
    return float(value)


def check_function(argument: str, value: object) -> Any:
    """Returns `value`, which must be callable."""
    if not callable(value):
        raise ArgumentError(argument, value, "a function")
    return value


def check_instance(argument: str, value: object, kind: type, such_as: str = "") -> Any:
    """Returns `value`, which must be an instance of `kind`."""
    if not isinstance(value, kind):
        raise ArgumentError(argument, value, f"a {kind.__name__}{such_as}")
    return value


def as_list(value: object) -> list | None:
    """The items of `value`; None where it has none, such as one number, or is a text or a dict."""
    try:
        return None if isinstance(value, str | Mapping) else list(value)
    except TypeError:  # also of an array without dimensions
        return None


def check_choice(argument: str, value: object, allowed: Iterable[object]) -> object:
    """Returns `value`, which must be one of `allowed`, of the same type."""
    options = list(allowed)
    if not any(type(value) is type(option) and value == option for option in options):
        raise ArgumentError(argument, value, "one of " + ", ".join(map(repr, options)))
    return value
