"""One that takes part in a round: a program, run by the interpreter that has what it imports."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


def own_python() -> Path:
    """Give the interpreter of this process, which has Kvik."""
    return Path(sys.executable)


@dataclass(frozen=True)
class Contender:
    """Name a program, its module, and the transport that it is told to use."""

    name: str
    module: str
    python: Callable[[], Path] = own_python
    transport: str = ""

    @property
    def command(self) -> list[str]:
        """Give the command that runs it."""
        return [str(self.python()), "-m", self.module]

    @property
    def environment(self) -> Mapping[str, str]:
        """Give what it finds in its environment besides ours."""
        return {"BENCH_TRANSPORT": self.transport}
