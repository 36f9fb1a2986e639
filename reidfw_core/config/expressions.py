"""The text extensions of the YAML: numbers written as expressions, tuples, ``None``, schedules, layer slices.

Text is parsed with :mod:`ast` and walked over a whitelist of node types. Nothing is ever evaluated as Python code.

Source: the user's document, appendix A "YAML syntax" and section 2.7.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

MAX_LENGTH = 2000
"""Longer text is never an expression (characters)."""

MAX_POWER_BITS = 256
"""Integer powers with a longer result are refused: ``9**9**9`` would never end."""

_SYNTAX_ERRORS = (SyntaxError, ValueError, MemoryError, RecursionError)


class ExpressionError(ValueError):
    """A text that begins like an expression but is none that is allowed."""


def parse_value(text: str) -> Any:
    """Reads a YAML string the way the user's document extends YAML.

    Numbers, unary and binary arithmetic (``+ - * / // % **``), parentheses, tuples and lists of these, ``True``,
    ``False`` and ``None`` get their value. Any other text comes back unchanged, save that a schedule
    (``lambda epoch, lr: ...``) written on several lines is put on one.

    Args:
        text: the string.

    Returns:
        A bool, int, float, tuple, list, None, or the text.
    """
    if is_lambda(text):
        return " ".join(text.split())
    stripped = text.strip()
    if not stripped or len(stripped) > MAX_LENGTH or not _may_be_a_value(stripped):
        return text
    tree = _parse(stripped)
    if tree is None:
        return text
    try:
        return _value(tree)
    except (ExpressionError, ArithmeticError, RecursionError):
        return text


def is_lambda(value: object) -> bool:
    """Whether a value is the text of a schedule."""
    return isinstance(value, str) and value.lstrip().startswith("lambda ")


def parse_lambda(text: str) -> Callable[..., Any]:
    """Compiles a schedule such as ``lambda epoch, lr: lr * 0.5 if epoch % 10 == 0 else lr`` into closures.

    Allowed are arithmetic, comparisons, ``and``/``or``/``not``, ``a if b else c``, the function's own arguments, and
    the functions and constants of :data:`FUNCTIONS` and :data:`CONSTANTS`, bare or behind ``math.`` or ``np.``.

    Args:
        text: the function, on one or several lines.

    Returns:
        A function of the same positional arguments.

    Raises:
        ExpressionError: the text is no such function; says which part is not allowed.
    """
    line = " ".join(text.split())
    if len(line) > MAX_LENGTH:
        raise ExpressionError(f"a schedule has at most {MAX_LENGTH} characters, this one has {len(line)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(line, mode="eval").body
    except _SYNTAX_ERRORS as cause:
        reason = cause.msg if isinstance(cause, SyntaxError) else cause
        raise ExpressionError(f"'{line}' is not a function: {reason}") from cause
    if not isinstance(tree, ast.Lambda):
        raise ExpressionError(f"'{line}' is not a function; write it like: lambda epoch, lr: lr * 0.5")
    names = _argument_names(tree.args)
    try:
        body = _compile(tree.body, frozenset(names))
    except RecursionError as cause:
        raise ExpressionError("the schedule is nested too deeply") from cause

    def schedule(*values: Any) -> Any:
        if len(values) != len(names):
            raise TypeError(f"the schedule takes {len(names)} arguments ({', '.join(names)}), got {len(values)}")
        return body(dict(zip(names, values, strict=True)))

    return schedule


def parse_layer_slices(value: Any) -> tuple[int | slice, ...]:
    """Reads the notations of ``training.frozen_layers``.

    ``None``, ``2``, ``(2)``, ``(4:8)``, ``(0:-1)`` and ``(7:13, 16, 20:28, -1)`` are indices and slices as Python's.
    One pair is special: ``(0, -1)`` is the slice ``0:-1``, since the user's document writes it for "all layers except
    the last one" (see :func:`layer_slices_note`). Any other pair is two indices.

    Args:
        value: text, a number, a sequence of numbers or text, or None.

    Returns:
        Indices and slices, empty for none.

    Raises:
        ExpressionError: anything else.
    """
    if value is None or value == "":
        return ()
    if isinstance(value, bool):
        raise ExpressionError(f"layers are given by numbers, got {value}")
    if isinstance(value, int):
        return (value,)
    if isinstance(value, str):
        parts = _split_places(value)
    elif isinstance(value, Sequence):
        parts = list(value)
    else:
        raise ExpressionError(f"layers are given like (0:-1) or (7:13, 16, -1), got {value!r}")
    places = tuple(_place(part) for part in parts)
    return (slice(0, -1),) if places == (0, -1) else places


def layer_slices_note(value: Any) -> str | None:
    """What the user should know about how a ``training.frozen_layers`` value is read, None for nothing."""
    try:
        places = parse_layer_slices(value)
    except ExpressionError:
        return None  # told where the section is checked
    text = str(value)
    if places != (slice(0, -1),) or ":" in text:
        return None
    return f"{text} is read as (0:-1), all layers but the last one; write (0:-1)"


_WORDS = re.compile(r"True|False|None")
_PLAIN = re.compile(r"[\d.eE_+\-*/%()\[\],\sxXoObBa-fA-F]+")


def _may_be_a_value(text: str) -> bool:
    """A quick look that spares nearly all ordinary text from being parsed."""
    without_words = _WORDS.sub("0", text)
    return bool(_PLAIN.fullmatch(without_words)) and any(c.isdigit() or c in "([" for c in without_words)


def _parse(text: str) -> ast.expr | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # '1 (2)' is worth a SyntaxWarning to Python; to us it is just text
            return ast.parse(text, mode="eval").body
    except _SYNTAX_ERRORS:
        return None


def _power(base: Any, exponent: Any) -> Any:
    if (
        isinstance(base, int)
        and isinstance(exponent, int)
        and exponent > 0
        and abs(base).bit_length() * exponent > MAX_POWER_BITS
    ):
        raise ExpressionError(f"the power is too large: an integer of more than {MAX_POWER_BITS} bits")
    result = base**exponent
    if isinstance(result, complex):
        raise ExpressionError("a root of a negative number is not allowed")
    return result


_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}

_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}

_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=None | bool() | int() | float() as value):
            return value
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return _UNARY[type(op)](_number(operand))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_number(left), _number(right))
        case ast.Tuple(elts=items):
            return tuple(_value(item) for item in items)
        case ast.List(elts=items):
            return [_value(item) for item in items]
    raise ExpressionError(f"'{ast.unparse(node)}' is no number")


def _number(node: ast.expr) -> int | float:
    value = _value(node)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ExpressionError(f"'{ast.unparse(node)}' is no number")
    return value


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "exp": math.exp,
    "float": float,
    "floor": math.floor,
    "int": int,
    "log": math.log,
    "max": max,
    "min": min,
    "pow": _power,
    "round": round,
    "sin": math.sin,
    "sqrt": math.sqrt,
}
"""Functions that a schedule may call."""

CONSTANTS: Mapping[str, float] = {"pi": math.pi}
"""Constants that a schedule may name."""

MODULES = frozenset({"math", "np", "numpy"})
"""Prefixes behind which the functions and constants may be written."""

_Closure = Callable[[Mapping[str, Any]], Any]
_T = TypeVar("_T")


def _argument_names(arguments: ast.arguments) -> tuple[str, ...]:
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.defaults or arguments.kw_defaults:
        raise ExpressionError("a schedule takes plain arguments only, like: lambda epoch, lr: ...")
    return tuple(argument.arg for argument in [*arguments.posonlyargs, *arguments.args])


def _compile(node: ast.expr, names: frozenset[str]) -> _Closure:
    match node:
        case ast.Constant(value=None | bool() | int() | float() as value):
            return lambda _: value
        case ast.Name(id=name) if name in names:
            return lambda scope: scope[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            binary, a, b = _BINARY[type(op)], _compile(left, names), _compile(right, names)
            return lambda scope: binary(a(scope), b(scope))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _compile(operand, names)
            return lambda scope: not inner(scope)
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            unary, inner = _UNARY[type(op)], _compile(operand, names)
            return lambda scope: unary(inner(scope))
        case ast.IfExp(test=test, body=body, orelse=other):
            condition, yes, no = _compile(test, names), _compile(body, names), _compile(other, names)
            return lambda scope: yes(scope) if condition(scope) else no(scope)
        case ast.BoolOp(op=op, values=values):
            return _compile_boolean(isinstance(op, ast.And), [_compile(value, names) for value in values])
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARE for op in ops):
            operands = [_compile(value, names) for value in (left, *others)]
            return _compile_comparison([_COMPARE[type(op)] for op in ops], operands)
        case ast.Call(func=func, args=args, keywords=[]) if not any(isinstance(arg, ast.Starred) for arg in args):
            return _compile_call(_lookup(func, FUNCTIONS, "function"), [_compile(arg, names) for arg in args])
        case ast.Name() | ast.Attribute():
            constant = _lookup(node, CONSTANTS, "name", names)
            return lambda _: constant
    raise ExpressionError(f"'{ast.unparse(node)}' is not allowed in a schedule")


def _compile_boolean(is_and: bool, operands: Sequence[_Closure]) -> _Closure:
    def boolean(scope: Mapping[str, Any]) -> Any:
        result: Any = is_and
        for operand in operands:
            result = operand(scope)
            if bool(result) is not is_and:
                break
        return result

    return boolean


def _compile_comparison(compare: Sequence[Callable[[Any, Any], bool]], operands: Sequence[_Closure]) -> _Closure:
    def comparison(scope: Mapping[str, Any]) -> bool:
        left = operands[0](scope)
        for check, operand in zip(compare, operands[1:], strict=True):
            right = operand(scope)
            if not check(left, right):
                return False
            left = right
        return True

    return comparison


def _compile_call(function: Callable[..., Any], arguments: Sequence[_Closure]) -> _Closure:
    return lambda scope: function(*(argument(scope) for argument in arguments))


def _lookup(node: ast.expr, known: Mapping[str, _T], what: str, names: frozenset[str] = frozenset()) -> _T:
    match node:
        case ast.Name(id=name) if name in known:
            return known[name]
        case ast.Attribute(value=ast.Name(id=module), attr=name) if module in MODULES and name in known:
            return known[name]
    allowed = ", ".join(sorted([*names, *known]))
    raise ExpressionError(f"a schedule knows no {what} '{ast.unparse(node)}'; it knows {allowed}")


_PLACE = re.compile(r"\s*([+-]?\d+)\s*")
_SLICE = re.compile(r"\s*([+-]?\d+)?\s*:\s*([+-]?\d+)?\s*(?::\s*([+-]?\d+)?\s*)?")


def _split_places(text: str) -> list[str]:
    inner = text.strip()
    if inner == "None":
        return []
    if inner[:1] in ("(", "[") and inner[-1:] == {"(": ")", "[": "]"}[inner[0]]:
        inner = inner[1:-1]
    parts = inner.split(",")
    return parts[:-1] if len(parts) > 1 and not parts[-1].strip() else parts


def _place(part: Any) -> int | slice:
    if isinstance(part, int) and not isinstance(part, bool):
        return part
    if isinstance(part, str):
        if match := _PLACE.fullmatch(part):
            return int(match[1])
        if match := _SLICE.fullmatch(part):
            start, stop, step = (None if bound is None else int(bound) for bound in match.groups())
            if step == 0:
                raise ExpressionError(f"'{part.strip()}': the step of a slice cannot be 0")
            return slice(start, stop, step)
    shown = part.strip() if isinstance(part, str) else repr(part)
    raise ExpressionError(f"'{shown}' is neither a layer's number nor a slice such as 4:8")
