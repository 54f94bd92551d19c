"""The files of the company in docs/your-own-data.md: Northgate, a gym whose members rate the classes they visit."""
