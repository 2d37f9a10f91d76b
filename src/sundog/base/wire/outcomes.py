"""The outcome of a function in another process: its value, or the exception that it raised.

An exception crosses as the name of its class and plain attributes.  The reader makes OSError and
the classes in ``errors`` again.  Any other exception is a bug of Sundog, and arrives as a
RuntimeError that says where it was raised.
"""

from __future__ import annotations

from sundog.base.wire.values import pack_value, unpack_value
from sundog.errors import Hint, SundogError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.base.wire.values import PutTogether, TakeApart

_DID_RETURN, _DID_FAIL, _WAS_REFUSED, _WAS_INTERRUPTED, _IS_BROKEN = (
    "returned",
    "failed",
    "refused",
    "^C",
    "broken",
)
NO_OUTCOME = "a process of Sundog sent a malformed answer"


def pack_result(value: object, take_apart: TakeApart | None = None) -> bytes:
    """Return as bytes that a function returned ``value``.  Raises TypeError as pack_value does."""
    return pack_value((_DID_RETURN, value), take_apart)


def pack_exception(error: BaseException) -> bytes:
    """Return as bytes that a function raised ``error``, without its cause and its traceback."""
    if isinstance(error, SundogError):
        attributes = {name: _plain(getattr(error, name)) for name in type(error).ATTRIBUTES}
        return pack_value((_DID_FAIL, (type(error).__name__, attributes)))
    if isinstance(error, OSError):
        return pack_value(
            (_WAS_REFUSED, (error.errno, error.strerror, error.filename, error.filename2))
        )
    if isinstance(error, KeyboardInterrupt):
        return pack_value((_WAS_INTERRUPTED, None))
    return pack_value((_IS_BROKEN, (f"{type(error).__name__}: {error}", where_from(error))))


def _plain(value: object) -> object:
    """Return the attribute of an error as a plain value: a Hint as its arguments."""
    return (value.advice, value.who, value.command) if isinstance(value, Hint) else value


def where_from(error: BaseException) -> str:
    """Return where ``error`` was raised, a line for each function, the innermost last.

    The module ``traceback`` is not used: in a container it would come from the image.
    """
    lines = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        lines.append(f"{code.co_filename}, line {trace.tb_lineno}, in {code.co_name}")
        trace = trace.tb_next
    # The notes of an error that has crossed before say where it was raised first.
    return "\n".join([*lines, *getattr(error, "__notes__", ())])


def unpack_outcome(data: bytes, put_together: PutTogether | None = None) -> object:
    """Return the value that the function of another process returned, or raise its exception.

    Also raises ValueError for bytes that neither ``pack_result`` nor ``pack_exception`` writes.
    """
    outcome = unpack_value(data, put_together)
    match outcome:
        case (str(kind), value) if kind == _DID_RETURN:
            return value
        case (str(kind), (str(name), dict(attributes))) if kind == _DID_FAIL:
            raise _made_error(name, attributes)
        case (str(kind), (number, text, first, second)) if kind == _WAS_REFUSED:
            raise _made_refusal(number, text, first, second)
        case (str(kind), None) if kind == _WAS_INTERRUPTED:
            raise KeyboardInterrupt
        case (str(kind), (str(text), str(where))) if kind == _IS_BROKEN:
            bug = RuntimeError(text)
            bug.add_note(f"in another process of Sundog:\n{where}")
            raise bug
    raise ValueError(NO_OUTCOME)


def _made_error(name: str, attributes: dict[object, object]) -> SundogError:
    """Return the error of the class ``name`` with ``attributes``; raise ValueError for others."""
    kind = _error_class(SundogError, name)
    if attributes.keys() != set(kind.ATTRIBUTES):
        raise ValueError(NO_OUTCOME)
    error = kind.__new__(kind)
    for key, value in attributes.items():
        match value:
            case (str(advice), str(who), str(command)):
                setattr(error, str(key), Hint(advice, who, command))
            case str() | int():
                setattr(error, str(key), value)
            case _:
                raise ValueError(NO_OUTCOME)
    error.args = (error.message,)
    return error


def _error_class(tree: type[SundogError], name: str) -> type[SundogError]:
    """Return the class ``name`` in the ``tree`` of errors.  Raises ValueError for another name."""
    kinds = [tree]
    for kind in kinds:
        if kind.__name__ == name:
            return kind
        kinds += kind.__subclasses__()
    raise ValueError(f"unknown class of errors: {name[:100]!r}")


def _made_refusal(number: object, text: object, first: object, second: object) -> OSError:
    """Return an OSError of these parts.  Raises ValueError if they are of other types."""
    for path in (first, second):
        if not isinstance(path, (str, bytes, int, type(None))):
            raise ValueError(NO_OUTCOME)
    if not isinstance(number, int) or not isinstance(text, str):
        return OSError(f"{text}")
    if first is None:
        return OSError(number, text)
    return OSError(number, text, first, None, second)
