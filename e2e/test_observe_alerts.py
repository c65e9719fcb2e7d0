"""An alert fires when what it is for happens, and ends with it. The rules themselves are tested by promtool."""

import pytest

from .eventually import eventually
from .observed import Prometheus, annotations
from .stack import Stack

pytestmark = pytest.mark.observe

# A service is asked every 5 s, and so are the rules.
_SEEN_S = 60
# An alert waits for 30 s on top of that.
_FIRING_S = 90


def test_an_alert_fires_and_ends(observed: Stack, prometheus: Prometheus) -> None:
    def fires() -> bool:
        firing = prometheus.firing()
        assert "NoCalculator" in firing
        assert [alert["job"] for alert in firing.get("ServiceDown", [])] == ["calculator"]
        return True

    def is_over() -> bool:
        return prometheus.firing().keys().isdisjoint({"NoCalculator", "ServiceDown"})

    eventually(is_over, "a calculator being seen before", _SEEN_S)
    calculator = observed.container("calculator")
    calculator.stop()
    try:
        eventually(fires, "the alerts of a calculator that is gone", _FIRING_S)
        for marked in annotations():
            assert prometheus.values(marked.expression)
    finally:
        calculator.start()
    observed.wait_until_ready()
    eventually(is_over, "the calculator being seen again", _SEEN_S)
