"""Hyper-parameters, the model, usefulness and bias."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.client.statement.question import Question, at_most

if TYPE_CHECKING:
    from wardround.client.statement.facts import Facts

_SELECTED = {
    "last": "The model of the last round is reported.",
    "ema": "A moving average of the models of all rounds is reported; it is made of what has left already.",
}

_ORIGIN = {
    "public": "It was learnt from public data of people none of whom is a patient of these hospitals.",
    "disjoint": "It was learnt from other patients of these hospitals, none of whom takes part in this study.",
    "none": "No patient's data are in it: it was drawn, or learnt from drawn images.",
    "overlapping": "It was learnt from patients of this study.",
}


def questions(facts: Facts) -> tuple[Question, ...]:
    """Of a study with a finite epsilon."""
    begins = () if facts.study.model.init is None else (_initial(facts),)
    return (_choices(facts), _model(facts), *begins, _usefulness(facts), _bias())


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
                f"The model {facts.study.model.name} with {facts.model.values} trained values, {_begin(facts)}. "
                f"{changed} Normalisation, augmentation and loss work on one image at a time; no class weights or "
                "running statistics are taken from the data."
            ),
        ),
        {"model": facts.study.model.name, "values": facts.model.values, "conversions": list(done)},
    )


def _begin(facts: Facts) -> str:
    if facts.study.model.init is None:
        return "from random weights that are drawn without any data"
    return f"of {facts.model.values + facts.model.frozen} in all, from the weights of a file"


def _initial(facts: Facts) -> Question:
    choice = facts.study.model
    trained = "All of the model is trained."
    if choice.trained is not None:
        trained = (
            f"Trained is what is called {', '.join(choice.trained)}: {facts.model.values} values. The other "
            f"{facts.model.frozen} are frozen: they stay as they are in the file, which every hospital takes from its "
            "own folder and never from the coordinator, and they do not travel."
        )
    fresh = f" Drawn anew, without any data: {', '.join(choice.fresh)}." if choice.fresh else ""
    return Question(
        "initial-weights",
        "Where do the weights come from that training begins with, and whose data are in them?",
        (
            f"From the file with the SHA-256 {choice.init}. {trained}{fresh}",
            (
                f"{_ORIGIN[choice.init_data or 'overlapping']} That is what the study's author declares, and hospitals "
                "approve it with the study; no program can check it. Epsilon covers what is learnt in this study, and "
                "not what the file gives away of the people whom it was learnt from."
            ),
        ),
        {
            "init": choice.init,
            "init_data": choice.init_data,
            "trained": None if choice.trained is None else list(choice.trained),
            "fresh": list(choice.fresh),
            "frozen_values": facts.model.frozen,
        },
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
