"""What runs kept out, for people: lists, exports that can be read in again, and what a replay made of it."""
