"""The runner of tests/drivers, one noun per file."""
