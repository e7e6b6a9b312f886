"""What the tests of an app or of a driver need; `pip install "kvik[testing]"` brings what it builds on."""

from .client import TestClient
from .conformance import KVStoreConformance
from .faulty import Fault, FaultyStore

__all__ = ["Fault", "FaultyStore", "KVStoreConformance", "TestClient"]
