"""A borrowed network made ready to compute steps, with its slower parts replaced."""
