"""Hyper-parameters, the model, usefulness and bias."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.simulations.privacy.question import Question, at_most

if TYPE_CHECKING:
    from wardround.simulations.privacy.facts import Facts

_SELECTED = {
    "last": "The model of the last round is reported.",
    "ema": "A moving average of the models of all rounds is reported; it is made of what has left already.",
}


def questions(facts: Facts) -> tuple[Question, ...]:
    """Of a study with a finite epsilon."""
    return (_choices(facts), _model(facts), _usefulness(facts), _bias())


def _choices(facts: Facts) -> Question:
    rule = facts.study.selection.rule
    return Question(
        "hyper-parameters",
        "How were learning rate, rounds, clipping norm and the rest chosen?",
        (
            (
                "They stand in the study and were fixed before it; the study cannot know how its author came by them. "
                "Choosing them by trying on these patients would cost more than epsilon says, unless every try went "
                "through the hospitals' ledgers. Choose them on public or simulated data, or on other patients."
            ),
            f"Nothing is chosen by validation patients. {_SELECTED[rule]}",
        ),
        {"selection": rule},
    )


def _model(facts: Facts) -> Question:
    done = facts.model.conversions
    changed = (
        f"It was changed so that single patients' gradients exist: {'; '.join(done)}."
        if done
        else "Nothing had to be changed in it."
    )
    return Question(
        "model",
        "What is trained?",
        (
            (
                f"The model {facts.study.model.name} with {facts.model.values} trained values, from random weights "
                f"that are drawn without any data. {changed} Normalisation, augmentation and loss work on one image at "
                "a time; no class weights or running statistics are taken from the data."
            ),
        ),
        {"model": facts.study.model.name, "values": facts.model.values, "conversions": list(done)},
    )


def _usefulness(facts: Facts) -> Question:
    return Question(
        "usefulness",
        "What does the noise do to the model?",
        (
            (
                f"In one step the noise is {at_most(facts.noise_share, 2)} times as long as the longest sum that "
                "the expected patients can give. It averages out over steps, and more patients make up for it; small "
                "studies lose most. The report of a run and its curve over epsilon say what is left."
            ),
        ),
        {"noise_over_longest_sum": facts.noise_share},
    )


def _bias() -> Question:
    return Question(
        "bias",
        "Who loses most?",
        (
            (
                "Groups with few patients and unusual images: their gradients are larger and are clipped more, and "
                "noise hides rare patterns first. A good average can hide that. Read the results hospital by hospital "
                "and, where it is known, by sex, age and disease before a model is used."
            ),
        ),
    )
