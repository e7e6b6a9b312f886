"""botocore's data files, decoded in pieces: one of them whole would keep the interpreter's lock for 20 ms.

They are read where credentials come from a role, for botocore makes a client of STS then.
"""

import time
from pathlib import Path
from typing import Any, Final

import msgspec
from botocore.loaders import JSONFileLoader

_PIECE: Final = 64 * 1024
"""Bytes that are decoded at once, in less than a millisecond."""

_BREATH: Final = 0.0001
"""Seconds: long enough for the event loop to wake up and take the interpreter's lock."""


class PiecewiseLoader(JSONFileLoader):
    """Be the part of botocore's loader that reads a file; what it does not know it leaves to its base."""

    def load_file(self, file_path: str) -> Any:
        """Give what is in the JSON file of this name, None where there is none."""
        path = Path(f"{file_path}.json")
        return _decoded(path.read_bytes()) if path.is_file() else super().load_file(file_path)


def _decoded(text: bytes) -> Any:
    if len(text) <= _PIECE:
        return msgspec.json.decode(text)
    time.sleep(_BREATH)
    first = text.lstrip()[:1]
    if first == b"{":
        members = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        return {name: _decoded(bytes(raw)) for name, raw in members.items()}
    if first == b"[":
        return [_decoded(bytes(raw)) for raw in msgspec.json.decode(text, type=list[msgspec.Raw])]
    return msgspec.json.decode(text)
