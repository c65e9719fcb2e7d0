"""That the tests have seen all that docs/openapi.yaml and docs/asyncapi.yaml describe, so that neither side drifts."""

import pytest

from .contract import everything, occurred


@pytest.mark.last
def test_everything_in_the_documents_has_occurred(request: pytest.FixtureRequest) -> None:
    expected = everything(services=request.config.getoption("--compose-project") is not None)
    assert sorted(expected - occurred()) == []
