"""A signal is noted once, then acts as usual; outside nothing is changed."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from cellwright.training.signals import stop_on_signal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_only_sets_the_request(number):
    before = [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)]
    with stop_on_signal() as stop:
        assert not stop and stop.signal_number == 0
        os.kill(os.getpid(), number)
        assert stop and stop.signal_number == number
        assert [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)] == before
    assert [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_second_interrupt_acts_as_usual():
    # A shell that starts tests in the background has them ignore SIGINT; here it must be heard.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _interrupt_twice()
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupt_twice():
    with pytest.raises(KeyboardInterrupt), stop_on_signal() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handlers_come_back_after_an_error():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="x"), stop_on_signal():
        raise ValueError("x")
    assert signal.getsignal(signal.SIGTERM) is before


def test_outside_the_main_thread_nothing_is_asked_for():
    found = []

    def work():
        with stop_on_signal() as stop:
            found.append(bool(stop))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
