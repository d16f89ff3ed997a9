"""The shell commands that the pages show, in fenced blocks and in running text, as a shell would read them.

Nothing is judged here: what each kind of command has to keep is said in ``tests/vgpu_docs``. A block is a
shell's where it says ``bash`` or ``console``, or nothing and begins at the margin; what begins with ``$`` in it
is typed, and the rest is the answer. In running text a command begins with a program that is known.
"""

import re
import shlex
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`(?P<text>[^`\n]+(?:\n[^`\n]+)?)`(?!`)")
_PROMPT = re.compile(r"^ *\$ ")
_SHELL = frozenset({"bash", "console"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command with its arguments; ``fed`` is what a here-document gives it to read."""

    page: Path
    words: tuple[str, ...]
    fed: str = ""

    def __str__(self) -> str:
        return f"{self.page.name}: {shlex.join(self.words)}"


def pages() -> list[Path]:
    """Every page that people read."""
    return [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]


def blocks(page: Path, *kinds: str) -> Iterator[str]:
    """The fenced blocks of these kinds."""
    return (text for kind, text in _BLOCK.findall(page.read_text()) if kind in kinds)


def fenced(page: Path) -> Iterator[Command]:
    """The commands of a page's blocks, in order."""
    for kind, text in _BLOCK.findall(page.read_text()):
        if kind in _SHELL or (not kind and not text.startswith(" ")):
            yield from _of_block(page, text)


def mentioned(page: Path, programs: Collection[str]) -> Iterator[Command]:
    """The commands of a page's running text that begin with one of these programs; not the mere names."""
    for span in _SPAN.findall(_BLOCK.sub("", page.read_text())):
        text = " ".join(span.split())
        if text.partition(" ")[0] in programs and " " in text and "…" not in text and "..." not in text:
            yield from _read(page, text, "")


def _of_block(page: Path, text: str) -> Iterator[Command]:
    lines = iter(text.replace("\\\n", " ").splitlines())
    prompted = any(_PROMPT.match(line) for line in text.splitlines())
    for line in lines:
        if prompted and not _PROMPT.match(line):
            continue
        fed = ""
        if mark := re.search(r"<<(\w+)", line):
            fed = "\n".join(iter(lines.__next__, mark.group(1)))
            line = line.replace(mark.group(), "")
        yield from _read(page, _PROMPT.sub("", line), fed)


def _read(page: Path, line: str, fed: str) -> Iterator[Command]:
    """The commands of a line: those of a pipe or a list one by one, without what is set before them."""
    tokens = shlex.shlex(line, posix=True, punctuation_chars="|&;")
    tokens.whitespace_split = True
    words: list[str] = []
    for token in [*tokens, ";"]:
        if set(token) <= set("|&;"):
            if words:
                yield Command(page=page, words=tuple(words), fed=fed)
            words = []
        elif words or not re.fullmatch(r"\w+=.*", token):
            words.append(token)
