"""From settings to ports and backends. Only this package imports both contracts and their backends."""
