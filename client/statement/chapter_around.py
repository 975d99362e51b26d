"""Side channels, access, collection of the data, and what is not protected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.client.statement.question import Question, at_most, number

if TYPE_CHECKING:
    from wardround.client.statement.facts import Facts


def questions(facts: Facts) -> tuple[Question, ...]:
    """Of a study with a finite epsilon."""
    return (_side_channels(), _access(), _collection(facts), _audit(), _unprotected(facts))


def _side_channels() -> Question:
    return Question(
        "side-channels",
        "What can be learnt past the noise?",
        (
            (
                "When a hospital answers depends on how many images its step drew; that it answers at all, on its "
                "machine. Neither is covered by epsilon. Time is not reported, but whoever sees the network can "
                "measure it. Sizes of messages do not depend on patients. Errors and logs that leave hold no data of "
                "patients."
            ),
        ),
    )


def _access() -> Question:
    return Question(
        "access",
        "Who can reach the images, and who notices?",
        (
            (
                "Images stay in the hospital, under its own access control; nothing of this promise protects them from "
                "its staff or from an intruder there. What leaves is written down at the hospital. The ledger is "
                "chained and append-only: edits, cuts and older copies are found and refused."
            ),
        ),
    )


def _collection(facts: Facts) -> Question:
    return Question(
        "collection",
        "What does the study do to how data are collected?",
        (
            (
                "Nothing is collected for it that the hospital does not have, and images are not copied elsewhere. "
                "Prepared copies lie in the hospital's own cache. The public number of patients, "
                f"{facts.promise.patients}, is a rounded one that the study's author states; it is not read from the "
                "data. Patients who withdraw are left out from then on; what was spent on them is not undone, and "
                "models that exist are not changed."
            ),
        ),
        {"patients": facts.promise.patients},
    )


def _audit() -> Question:
    return Question(
        "audit",
        "How can the promise be checked?",
        (
            (
                "By the code and its proofs, and from outside: `wardround attack leakage` trains on this machine with "
                "canaries and attacks the result; what it finds is a lower bound on epsilon and stands beside the "
                "promise in the report. A bound below the promise does not prove the promise."
            ),
        ),
    )


def _unprotected(facts: Facts) -> Question:
    two = facts.two_hospitals
    crafted = (
        "The coordinator may send crafted models. They make the most of what the noise lets through, and no more than "
        "epsilon allows."
    )
    return Question(
        "not-protected",
        "What is not protected?",
        (
            f"Whoever is a patient of two of the hospitals has epsilon {at_most(two)}.",
            f"Epsilon {number(facts.promise.promised or 0)} was chosen by people; whatever it allows, it allows.",
            crafted,
            (
                "What is true of patients in general is learnt, and meant to be: a model that finds a disease can be "
                "used on somebody who never took part."
            ),
            (
                "Test patients' results that a hospital publishes by itself; timing; the hospital's own staff; stolen "
                "machines; labels and images that were wrong from the start."
            ),
        ),
        {"epsilon_of_two_hospitals": two},
    )
