"""Constants of the released code's prompts (paper.md section 1)."""

FILLER = -1e20
"""What a learned length's dropped vectors become under `fillers`."""
SHARING = 4
"""Rows that share a draw under draw_by_four: the released code evaluates in batches of 4, in the data's order."""
RANDOM_RANGE = 0.5
"""Where the released code draws what it begins with: U(-0.5, 0.5)."""
