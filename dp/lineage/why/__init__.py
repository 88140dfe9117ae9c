"""From a number to everything it rests on: its address, the graph of records behind it, and both as text."""
