"""The privacy statement of a study: the questions of NIST SP 800-226, answered from the study alone.

NIST Special Publication 800-226 (2025), Guidelines for Evaluating Differential Privacy Guarantees, asks what has to be
known before a claim means anything: its pyramid goes from epsilon and the unit of privacy over mechanism, trust model
and implementation down to the collection of the data. A hospital can have the statement before it approves a study;
after a run, what was spent is in it too. It is for data-protection officers: plain words, every number computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from wardround.client.statement import (
    chapter_around,
    chapter_choices,
    chapter_guarantee,
    chapter_mechanism,
    chapter_study,
    chapter_trust,
)
from wardround.client.statement.caution import promise_warnings
from wardround.client.statement.facts import Facts, model_facts
from wardround.client.statement.rows import Row
from wardround.client.statement.summary import no_promise, summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardround.client.statement.facts import ModelFacts
    from wardround.client.statement.question import Question
    from wardround.client.statement.rows import Privacy
    from wardround.common.study import Study

SOURCE = "NIST SP 800-226 (2025), Guidelines for Evaluating Differential Privacy Guarantees"


class Answer(Row):
    """One question and its answer.

    Attributes:
        id: Stable name of the question.
        question: As people ask it.
        answer: Paragraphs.
        facts: The numbers in the answer, by name; None where there is no finite one.
    """

    id: str
    question: str
    answer: list[str]
    facts: dict[str, Any] = Field(default_factory=dict)


class Chapter(Row):
    """Questions that belong together."""

    title: str
    answers: list[Answer]


class Statement(Row):
    """``privacy.json``.

    Attributes:
        study: The study's id.
        release: The version of wardround that it speaks of.
        source: Whose questions it answers.
        promised: Whether patients are promised an epsilon.
        summary: The main points, one paragraph each.
        warnings: What a reader must not overlook.
        chapters: All questions.
    """

    schema_: Literal[1] = Field(alias="schema", default=1)
    study: str
    name: str
    title: str
    release: str
    source: str = SOURCE
    promised: bool
    summary: list[str]
    warnings: list[str]
    chapters: list[Chapter]


def statement(study: Study, model: ModelFacts | None = None, spent: Sequence[Privacy] = ()) -> Statement:
    """The statement of a study.

    Args:
        study: The study; without a promise, the statement says so.
        model: Size and conversions of its model; None: it is built.
        spent: Rows of ``results.json`` after a run.

    Raises:
        WardroundError: WR-1201, WR-1202 or WR-1207, the model cannot be built.
    """
    facts = Facts(study, model or model_facts(study), tuple(spent))
    promised = study.privacy is not None and study.privacy.noisy
    return Statement(
        study=study.id,
        name=study.name,
        title=study.title,
        release=facts.release,
        promised=promised,
        summary=list(summary(facts) if promised else no_promise(study)),
        warnings=promise_warnings(study, spent, facts.model),
        chapters=_chapters(facts, spent) if promised else [],
    )


def _chapters(facts: Facts, spent: Sequence[Privacy]) -> list[Chapter]:
    return [
        _chapter("The guarantee", chapter_guarantee.questions(facts)),
        _chapter("Whom one has to trust", chapter_trust.questions(facts)),
        _chapter("The mechanism", chapter_mechanism.questions(facts)),
        _chapter("Over the whole study", chapter_study.questions(facts, spent)),
        _chapter("Choices, usefulness and bias", chapter_choices.questions(facts)),
        _chapter("Around the mechanism, and what is not protected", chapter_around.questions(facts)),
    ]


def _chapter(title: str, questions: Sequence[Question]) -> Chapter:
    answers = [Answer(id=q.id, question=q.question, answer=list(q.answer), facts=dict(q.facts)) for q in questions]
    return Chapter(title=title, answers=answers)
