"""The registered servers: tables, statements, use cases and the publisher of snapshots."""
