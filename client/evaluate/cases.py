"""The rows of ``cases.csv``: every sample and label of a site, scored."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CaseRow:
    """One sample and label; None where a column does not apply or is undefined.

    Attributes:
        patient: Pseudonymous key of the patient; the raw id stays in the site's process.
        sample: ``row-17``: line of the sample in the site's table.
        label: Of the study.
        truth: 0 or 1 (classification).
        score: Probability of the label (classification).
        predicted: 0 or 1: the probability reaches the study's threshold, or, where exactly one
            label holds, is the largest (classification).
        dice: See :class:`wardround.client.evaluate.surfaces.StructureScores`, also for the rest.
        hd95_mm: Mm.
        surface_dice: 0 to 1.
        volume_error_ml: ML, absolute.
        volume_ml: ML, of the truth.
    """

    patient: str
    sample: str
    label: str
    truth: int | None = None
    score: float | None = None
    predicted: int | None = None
    dice: float | None = None
    hd95_mm: float | None = None
    surface_dice: float | None = None
    volume_error_ml: float | None = None
    volume_ml: float | None = None
