"""What was answered, to the warehouse."""
