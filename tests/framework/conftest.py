"""What the framework's tests share."""

import pytest


@pytest.fixture(params=["uvicorn", "kvik"])
def both_protocols(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve through uvicorn's own protocol, as `uvicorn main:app` does, and through that of `app.run()`."""
    monkeypatch.setattr("support.PROTOCOL", request.param)


@pytest.fixture(params=["auto", "asgi"])
def both_engines(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run programs with the direct protocol, and without."""
    monkeypatch.setenv("HTTP_ENGINE", request.param)
