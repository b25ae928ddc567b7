"""How many answers arrive whole while model servers die? ``python -m bench.churn --help``."""
