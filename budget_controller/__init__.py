"""The budget controller: exact dollars on a token counter. See docs/budget.md."""

__version__ = "1.0.0"
