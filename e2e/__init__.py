"""Black-box tests of a running fibwire, however it runs. They know its base URL and the protocol."""
