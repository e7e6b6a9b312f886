"""Credentials for signing: botocore finds and renews them in a thread; nobody waits while there are good ones.

An identity is never exchanged for another: once one has worked, only the same source can renew it.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from botocore.credentials import create_credential_resolver
from botocore.exceptions import BotoCoreError, NoCredentialsError
from botocore.session import Session

from .._threads import DaemonThreads
from .signing import Credentials

_LOOK_AGAIN: Final = 1.0
"""Seconds between two looks at whether renewing is due."""

_AFTER_RENEWING: Final = 10.0
"""Seconds until renewing is tried again that is still due, since it failed, or since all are so short-lived."""


class SourceClosedError(Exception):
    """Say that nobody waits for the source any more."""


class CredentialSource:
    """Give the credentials of a session, as they are now; roles are asked for in this region.

    ``on_failure`` is told when renewing failed early, while what there is is still good; once for each of them.
    """

    def __init__(self, session: Session, region: str, on_failure: Callable[[str], None]) -> None:
        # As making a client does: there is no public way to say in which region roles are asked for.
        session._last_client_region_used = region  # type: ignore[attr-defined] # noqa: SLF001 - see above
        self._session = session
        self._region = region
        self._on_failure = on_failure
        self._thread = DaemonThreads(1, "kvik-dynamodb-credentials")
        self._found: Any = None  # botocore's Credentials; those that expire renew themselves
        self._current: Credentials | None = None
        self._look_again_at = 0.0
        self._work: asyncio.Future[None] | None = None
        self._not_renewed: Credentials | None = None
        self._closed = False

    def known(self) -> Credentials | None:
        """Give the credentials, if it is not yet time to look whether they are still good."""
        return self._current if time.monotonic() < self._look_again_at else None

    async def get(self) -> Credentials:
        """Give good credentials; wait for botocore only if there are none.

        Raises NoCredentialsError, SourceClosedError, and whatever comes out of a source that fails.
        """
        if self._current is None or self._expires_within(0):
            await self._once(self._load if self._found is None else self._freeze)
        elif self._expires_within(None):
            self._renew_early()
        self._look_again_at = max(self._look_again_at, time.monotonic() + _LOOK_AGAIN)
        if self._current is None:
            raise NoCredentialsError
        return self._current

    async def renew(self, refused: Credentials) -> bool:
        """Look for newer ones, after AWS has called these expired; say whether there are any."""
        if self._current == refused:
            await self._once(self._load_anew)
        return self._current != refused

    def places(self) -> str:
        """Name the source in use; before there is one all that botocore asks, in its order and its words."""
        if self._found is not None:
            return str(self._found.method)
        try:
            chain = self._session.get_component("credential_provider")
        except BotoCoreError:  # no such profile, say
            return "the AWS configuration"
        return ", ".join(provider.METHOD for provider in chain.providers)

    def close(self) -> None:
        """Stop looking; a thread that waits for a slow source is left to end by itself."""
        self._closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._work is not None:
            self._work.cancel()

    def _expires_within(self, seconds: int | None) -> bool:
        """Ask credentials that expire; None is the time before, in which botocore begins to renew them."""
        refresh_needed = getattr(self._found, "refresh_needed", None)
        return refresh_needed is not None and bool(refresh_needed(seconds))

    def _renew_early(self) -> None:
        if self._work is None or self._work.done():
            self._work = self._in_thread(self._freeze)
            self._work.add_done_callback(partial(self._renewed_early, self._current))

    def _renewed_early(self, old: Credentials | None, work: asyncio.Future[None]) -> None:
        if self._closed:
            return
        failure = work.exception()
        if self._expires_within(None):
            self._look_again_at = time.monotonic() + _AFTER_RENEWING
        if self._current == old and old != self._not_renewed:  # botocore keeps most early failures to itself
            self._not_renewed = old
            self._on_failure(type(failure).__name__ if failure else "CredentialRetrievalError")

    async def _once(self, work: Callable[[], Credentials | None]) -> None:
        """Do the work once for all who want it now; one who gives up takes it from nobody."""
        if self._closed:
            raise SourceClosedError
        if self._work is None or self._work.done():
            self._work = self._in_thread(work)
        under_way = self._work
        await asyncio.wait({under_way})
        if under_way.cancelled():
            raise SourceClosedError
        under_way.result()

    def _in_thread(self, work: Callable[[], Credentials | None]) -> asyncio.Future[None]:
        def look() -> None:
            self._current = work() or self._current

        doing = asyncio.get_running_loop().run_in_executor(self._thread, look)
        doing.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, even if nobody waits
        return doing

    def _load(self) -> Credentials | None:
        self._found = self._session.get_credentials()
        return None if self._found is None else self._freeze()

    def _freeze(self) -> Credentials:
        frozen = self._found.get_frozen_credentials()
        account = getattr(frozen, "account_id", None)  # the oldest botocore that is supported has none
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token, account)

    def _load_anew(self) -> Credentials | None:
        """Ask the source that has worked, and no other; a new one of its kind, which remembers no roles."""
        new = create_credential_resolver(self._session, region_name=self._region)
        old = self._session.get_component("credential_provider")  # where somebody may have put a source of his own
        providers = [*new.providers, *old.providers]
        source = next((each for each in providers if self._found.method == each.METHOD), None)
        found = None if source is None else source.load()
        if found is None:
            return None
        self._found = found
        return self._freeze()
