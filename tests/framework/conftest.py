"""What the framework's tests share."""

import pytest


@pytest.fixture(params=["uvicorn", "kvik"])
def both_protocols(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve through uvicorn's own protocol, as `uvicorn main:app` does, and through that of `app.run()`."""
    monkeypatch.setattr("support.PROTOCOL", request.param)
