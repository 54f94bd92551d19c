"""The services of one machine, which `make up` starts and `make down` stops."""
