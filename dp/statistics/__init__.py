LEVEL = 0.95
"""Of every interval."""
ALPHA = 0.05
"""Below it a corrected p value is called significant: 1 - LEVEL."""
