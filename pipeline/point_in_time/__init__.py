"""What a company's SQL may see as of a cutoff, and what it gives back: features' shards and rows, labels."""
