"""The PostgreSQL server: the life of the embedded one, and the three databases on it or on an outside server."""
