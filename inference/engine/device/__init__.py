"""The device: the thread that owns it, its memory, and what goes there."""
