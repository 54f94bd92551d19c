"""What makes two commands enough on one machine: PostgreSQL, the services, credentials."""
