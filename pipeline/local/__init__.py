"""What runs on one machine: PostgreSQL, the services of `make up`, credentials."""
