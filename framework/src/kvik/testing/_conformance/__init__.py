"""The tests that make a driver one: a module for each group of rules, put together in one class."""

import pytest

from .basics import BasicTests
from .batches import BatchTests
from .blocking import BlockingTests
from .cancellation import CancellationTests
from .counters import CounterTests
from .expiry import ExpiryTests
from .keys import KeyTests
from .lifecycle import LifecycleTests
from .machine import StateMachineTests
from .scans import ScanTests
from .values import ValueTests
from .versions import VersionTests


@pytest.mark.anyio
class KVStoreConformance(
    BasicTests,
    KeyTests,
    ValueTests,
    ExpiryTests,
    VersionTests,
    BatchTests,
    CounterTests,
    ScanTests,
    LifecycleTests,
    CancellationTests,
    BlockingTests,
    StateMachineTests,
):
    """Test that a driver keeps the key-value contract; a subclass says only how one is made.

        class TestMine(KVStoreConformance):
            @pytest.fixture
            def store(self):
                return MyStore()  # a new driver over empty storage, not connected

    Needs no configuration of pytest. The tests of a capability that the driver does not declare are skipped, and
    say which; that it is then really absent has a test of its own. Expiry goes by the driver's `clock` where it
    has one, and is waited for where it has none. `examples` and `steps` say how long the state machine runs.
    """
