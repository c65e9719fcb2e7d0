"""Black-box tests of a running fibwire, whichever way it runs: they know a base URL and the protocol."""
