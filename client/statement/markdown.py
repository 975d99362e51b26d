"""The privacy statement as Markdown, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wardround.client.statement.statement import Answer, Statement

PAGE: Final = "privacy.md"
"""Its name in a run folder."""


def markdown(statement: Statement) -> str:
    """One page: the main points, warnings, and every question with its answer."""
    return "\n\n".join(_blocks(statement)) + "\n"


def _blocks(statement: Statement) -> Iterator[str]:
    yield f"# Privacy statement: {statement.title}"
    yield (
        f"Study `{statement.name}`, `{statement.study}`. Computed by wardround {statement.release} from the study; the "
        f"questions are those of {statement.source}."
    )
    yield "## In short"
    yield from statement.summary
    if statement.warnings:
        yield "\n".join(f"* **Warning.** {words}" for words in statement.warnings)
    for chapter in statement.chapters:
        yield f"## {chapter.title}"
        for answer in chapter.answers:
            yield from _answer(answer)


def _answer(answer: Answer) -> Iterator[str]:
    yield f"### {answer.question}"
    yield from answer.answer
