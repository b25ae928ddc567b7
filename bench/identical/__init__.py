"""Is an answer that broke and went on elsewhere the answer itself? ``python -m bench.identical --help``."""
