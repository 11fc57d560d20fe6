"""The touch interface: draws a Flow, turns touches into events, nothing else."""

import os

# pygame greets on stdout when it is imported, and stdout carries the event lines.
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
