"""What the tests of an app need; `pip install "kvik[testing]"` brings what it builds on."""

from .client import TestClient

__all__ = ["TestClient"]
