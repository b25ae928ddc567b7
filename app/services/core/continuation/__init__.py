"""How does a broken answer go on elsewhere, without a token lost or doubled? Pure."""
