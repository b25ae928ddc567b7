"""Settings, logging, database and tasks: what every shell stands on."""
