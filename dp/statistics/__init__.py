LEVEL = 0.95
"""Of every interval."""
