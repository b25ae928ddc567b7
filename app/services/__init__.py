"""Everything the gateway does: a pure core and the shells around it."""
