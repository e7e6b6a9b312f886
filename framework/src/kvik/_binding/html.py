"""The texts that HTML's inputs send, where they are not those of JSON and RFC 3339.

https://html.spec.whatwg.org/multipage/input.html: `datetime-local` and `time` leave seconds of zero out, `number`
is a valid floating-point number, such as ".5", "05" and "1e3", and a checkbox sends "on". A `date` is a datetime's
midnight, as pydantic has it.
"""

import re
from decimal import Decimal

import msgspec.inspect as mi

_ON_AND_OFF = {"on": True, "off": False}
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_WITHOUT_SECONDS = re.compile(r"(?:\d{4}-\d\d-\d\d[T ])?\d\d:\d\d")
_NUMBER = re.compile(r"(-?)(?=\.?\d)0*(\d*)((?:\.\d+)?(?:[eE][+-]?\d+)?)")
_SHORT_POWER = re.compile(r"[eE]\+?\d\d?")  # more would be a number of any length
_NUMBERS = mi.IntType | mi.FloatType | mi.DecimalType
_TIMES = mi.DateTimeType | mi.TimeType


def read_input(text: str, kinds: tuple[mi.Type, ...]) -> str | bool:
    """Return what an input's text is to be converted from, where a value may be one of these types and no text."""
    for kind in kinds:
        if isinstance(kind, mi.BoolType):
            return _ON_AND_OFF.get(text.lower(), text)
        if isinstance(kind, _TIMES) and _WITHOUT_SECONDS.fullmatch(text):
            return text + ":00"
        if isinstance(kind, mi.DateTimeType) and _DATE.fullmatch(text):
            return text + "T00:00:00"
        if isinstance(kind, _NUMBERS) and (number := _NUMBER.fullmatch(text)):
            return _plain(number, whole=isinstance(kind, mi.IntType))
    return text


def _plain(number: re.Match[str], *, whole: bool) -> str:
    """Write a number with one digit at least before its point, and a whole one without a power of ten."""
    sign, digits, rest = number.groups()
    text = f"{sign}{digits or '0'}{rest}"
    power = _SHORT_POWER.search(rest)
    if whole and power is not None and power.end() == len(rest):
        value = Decimal(text)
        if value == value.to_integral_value():
            return str(int(value))
    return text
