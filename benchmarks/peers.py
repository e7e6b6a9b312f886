"""The peers' own virtual environments, so that nothing of theirs is needed to develop Kvik, or to use it.

There are two, for aiobotocore allows only one older version of botocore. What Kvik has as well, such as uvicorn
and boto3, is here what constraints.txt says, so that a difference is never one of versions.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
ENVIRONMENTS = ROOT / ".venv-peers"


def python() -> Path:
    """Give the interpreter that has the web frameworks, boto3, aiodynamo and matplotlib."""
    return _environment("peers", constraints=ROOT / "constraints.txt")


def aiobotocore_python() -> Path:
    """Give the interpreter that has aioboto3 and py-key-value, with the botocore that they take."""
    return _environment("aiobotocore")


def _environment(name: str, constraints: Path | None = None) -> Path:
    """Make the environment where it is missing or its lists have changed; the stamp holds what is installed."""
    requirements = HERE / f"requirements/{name}.txt"
    wanted = "".join(path.read_text(encoding="utf-8") for path in (requirements, constraints) if path)
    interpreter, stamp = ENVIRONMENTS / name / "bin/python", ENVIRONMENTS / name / ".stamp"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"installing the {name} environment of the benchmarks", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", ENVIRONMENTS / name], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(interpreter), "--disable-pip-version-check"]
        lists = ["-r", str(requirements), *(["-c", str(constraints)] if constraints else [])]
        subprocess.run([*pip, "install", "--quiet", *lists], check=True)
        stamp.write_text(wanted, encoding="utf-8")
    return interpreter
