"""Kept-out rows, for people: lists, exports that can be read in again, and their outcomes after a replay."""
