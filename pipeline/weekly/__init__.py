"""The stages of the weekly run, in the order of the README's picture, and what each hands to the next."""
