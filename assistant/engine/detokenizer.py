"""Token ids back to text, one at a time, whole characters only.

Byte-level BPE cuts text into bytes, so a token may end in the middle of a syllable. Bytes are held back
until a character is complete; bytes that can never become one are dropped, so U+FFFD is never made.
"""

from __future__ import annotations

import codecs
from functools import cache

from tokenizers import Tokenizer


@cache
def _byte_of_character() -> dict[str, int]:
    """The byte-level alphabet (Radford et al. 2019): printable bytes are themselves, others from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    shifted = {chr(0x100 + place): byte for place, byte in enumerate(others)}
    return {chr(byte): byte for byte in printable} | shifted


def token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """The bytes of every token of a byte-level BPE tokenizer, by id; special tokens have none."""
    table = [b""] * tokenizer.get_vocab_size(with_added_tokens=True)
    alphabet = _byte_of_character()
    for token, index in tokenizer.get_vocab(with_added_tokens=False).items():
        table[index] = bytes(alphabet[character] for character in token if character in alphabet)
    for index, added in tokenizer.get_added_tokens_decoder().items():
        table[index] = b"" if added.special else added.content.encode()
    return table


class Detokenizer:
    """Decodes one stream of tokens."""

    def __init__(self, table: list[bytes]) -> None:
        """Start a stream.

        Args:
            table: bytes of every token, from `token_bytes`.
        """
        self._table = table
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="ignore")

    def push(self, token: int) -> str:
        """The characters that this token completes; often none or a whole word."""
        # A document may hold U+FFFD itself; nobody wants to see it repeated.
        return self._decoder.decode(self._table[token]).replace("\ufffd", "")


class StopStrings:
    """Ends a stream of text before the first stop string, and holds back text that may begin one."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        """Start a stream.

        Args:
            stops: strings that end it; empty ones are ignored.
        """
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """The part of the text so far that can be shown now; `found` says whether a stop string came."""
        self._held += text
        starts = [start for stop in self._stops if (start := self._held.find(stop)) >= 0]
        if starts:
            self.found = True
            shown, self._held = self._held[: min(starts)], ""
            return shown
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def flush(self) -> str:
        """What was held back, when the stream ends without a stop string."""
        shown, self._held = self._held, ""
        return shown


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of the text that begins the stop string."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
