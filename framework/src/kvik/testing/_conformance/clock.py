"""Time for the tests of expiry: a store's own clock, set by hand, or, where it has none, the world's."""

import asyncio
import time
from typing import Any, Final

_MARGIN: Final = 0.05  # by which a server's clock may be behind ours


class StoreClock:
    """Let time pass for a store: at once where it has a `clock`, else by waiting."""

    def __init__(self, store: Any) -> None:
        self.is_set_by_hand = hasattr(store, "clock")
        self.granularity = float(getattr(getattr(store, "limits", None), "ttl_granularity", 0.0))
        self._now = time.time()
        if self.is_set_by_hand:
            self._now = store.clock()
            store.clock = lambda: self._now

    def now(self) -> float:
        """Give the store's time."""
        return self._now if self.is_set_by_hand else time.time()

    def soon(self) -> float:
        """Give a moment to expire at that the test will wait for; without a clock it comes in a blink."""
        return self.now() + (60.125 if self.is_set_by_hand else 0.2)

    def later(self) -> float:
        """Give a moment that no test will see."""
        return self.now() + 3600.5

    def set(self, moment: float) -> None:
        """Make it this moment; for stores with a clock."""
        self._now = moment

    async def pass_expiry(self, expires_at: float) -> None:
        """Let time pass until what expires then is gone, rounding included."""
        gone = expires_at + self.granularity
        if self.is_set_by_hand:
            self.set(max(self._now, gone))
            return
        await asyncio.sleep(max(0.0, gone + _MARGIN - time.time()))
