"""Dynamic prompting: position, length and content of soft prompts for frozen language models."""

__version__ = "0.1.0"
