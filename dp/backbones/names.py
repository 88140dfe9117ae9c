"""The families of backbones by name. Whoever needs no more than names imports this alone: it loads nothing heavy."""

from typing import Literal

Family = Literal["seq2seq", "causal", "encoder"]
ARCHITECTURES: dict[Family, str] = {"seq2seq": "t5", "causal": "llama", "encoder": "bert"}
"""Family -> what transformers calls the architecture of its random weights."""
