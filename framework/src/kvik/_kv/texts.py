"""What a key or a value can be: text that UTF-8 can hold, in so many bytes."""

from typing import Final, TypeVar

from ..kv_errors import KVError

E = TypeVar("E", bound=KVError)

_MOST_BYTES_PER_CHARACTER: Final = 4  # of UTF-8


def text_problem(what: str, text: object) -> str | None:
    """Say what is wrong with it, None if nothing is."""
    if not isinstance(text, str):
        return f"{what} must be str, not {type(text).__name__}"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"{what} holds a lone surrogate, which UTF-8 cannot"
    return None


def exact(text: str) -> str:
    """Return the text as a `str`, where it is a member of an enum or of another subclass."""
    return text if type(text) is str else str.__str__(text)


def is_longer(text: str, limit: int | None) -> bool:
    """Tell whether the text has more bytes of UTF-8 than the limit, encoding it only where that can matter."""
    if limit is None or len(text) * _MOST_BYTES_PER_CHARACTER <= limit:
        return False
    return (len(text) if text.isascii() else len(text.encode())) > limit


def told(error: E) -> E:
    """Let the client read the error's text too: we wrote it, and it tells only of what was sent."""
    error.public_message = str(error)
    return error
