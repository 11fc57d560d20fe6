"""A line of text that is being typed on the screen or on a keyboard."""

from __future__ import annotations


class TextDraft:
    """What has been typed so far, at most `most` characters, and whether the alphabetical keys are wanted."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.abc = False
        self.text = ""

    def key(self, name: str) -> None:
        """A key of the on-screen keyboard: a character, "space", "delete" or "layout"."""
        if name == "delete":
            self.erase()
        elif name == "layout":
            self.abc = not self.abc
        else:
            self.add(" " if name == "space" else name)

    def add(self, text: str) -> None:
        """Add printable characters."""
        self.text = (self.text + "".join(c for c in text if c.isprintable()))[: self._most]

    def erase(self) -> None:
        """Drop the last character."""
        self.text = self.text[:-1]

    def take(self) -> str:
        """Return the text without outer blanks, and start anew."""
        text, self.text = self.text.strip(), ""
        return text
