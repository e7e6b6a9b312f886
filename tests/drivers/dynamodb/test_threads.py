"""The executor whose threads may be left behind."""

import threading

from kvik_dynamodb._threads import DaemonThreads


def test_a_shutdown_that_is_repeated_ends_the_threads() -> None:
    """Also at once, before a thread has taken note of the first one."""
    for _ in range(20):
        executor = DaemonThreads(1, "kvik-dynamodb-test")
        go_on = threading.Event()
        done = executor.submit(go_on.wait)
        executor.shutdown(wait=False, cancel_futures=True)
        executor.shutdown(wait=False, cancel_futures=True)
        go_on.set()
        assert done.result(10)
        executor.shutdown(wait=True)
    assert not [each for each in threading.enumerate() if each.name == "kvik-dynamodb-test"]
