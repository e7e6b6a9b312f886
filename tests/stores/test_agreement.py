"""All stores behave alike: the same random steps have the same results on each."""

import pytest

from kvik import KV

from .steps import Chooser, Player

_STEPS = 30


@pytest.mark.parametrize("seed", range(12))
async def test_the_same_steps_have_the_same_results_on_every_store(stores: dict[str, KV], seed: int) -> None:
    """Odd keys, values, lifetimes and types included: the same values, errors, versions and expiries."""
    players = {name: Player(kv) for name, kv in stores.items()}
    for player in players.values():
        player.kv.unwrap(object).clock = player.clock  # type: ignore[attr-defined]  # every driver has one
    chooser, played = Chooser(seed), []
    for _ in range(_STEPS):
        view, step = chooser.view(), chooser.step()
        played.append((view, step))
        results = {name: await player.play(view, step) for name, player in players.items()}
        assert results == dict.fromkeys(results, results["memory"]), f"seed {seed}: {played}"
