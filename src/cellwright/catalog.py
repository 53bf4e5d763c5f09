"""Name -> class, nothing else: what --rep, --tokenizer and the benchmark can name."""

from __future__ import annotations

from cellwright.interfaces import Representation, Task, Tokenizer

TOKENIZERS: dict[str, type[Tokenizer]] = {}
REPRESENTATIONS: dict[str, type[Representation]] = {}
TASKS: dict[str, type[Task]] = {}
