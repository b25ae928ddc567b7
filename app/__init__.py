"""Multiverse Inference Gateway: one OpenAI-compatible endpoint over many model servers."""

__version__ = "0.1.0"
