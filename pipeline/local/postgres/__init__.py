"""The PostgreSQL server: the embedded one's life, and the three databases on it or on an outside one."""
