"""WR-18xx: patient-level differential privacy and the privacy ledger."""

from __future__ import annotations

from typing import Final

from wardround.common.errors.page import ErrorPage

PAGES: Final[tuple[ErrorPage, ...]] = (
    ErrorPage(
        "WR-1801",
        "epsilon cannot be reached",
        "With the sampling rate, the rounds and the local steps of the study, no reasonable amount of noise keeps the "
        "privacy loss within the epsilon and delta that it promises.",
        "Raise privacy.epsilon, or lower training.rounds, privacy.local_steps or privacy.rate.",
    ),
    ErrorPage(
        "WR-1802",
        "sampling rate too small",
        "With this rate a site expects fewer than one patient in a step, so that the step is nothing but noise.",
        "Raise privacy.rate, or leave out sites with very few patients; privacy.patients is their public total.",
    ),
    ErrorPage(
        "WR-1803",
        "layer has no per-sample gradient",
        "The model has a layer whose gradient cannot be taken patient by patient, or a weight that two layers share. "
        "Without one gradient per patient no patient's influence can be bounded.",
        "Use a model of the catalogue, or replace the layer that the message names.",
    ),
    ErrorPage(
        "WR-1804",
        "batch normalisation under differential privacy",
        "Batch normalisation mixes the patients of a batch, so that one patient's influence cannot be bounded, and its "
        "running statistics would leave the hospital without noise. Models of the catalogue never have it under a "
        "promise: theirs becomes group normalisation when they are built. So this is about a model that was installed.",
        "Build the installed model with group or instance normalisation, or use one of the catalogue.",
    ),
    ErrorPage(
        "WR-1805",
        "study does not fit differential privacy",
        "A part of the study would use or give away something of the patients that is not paid for: weights by "
        "patients, class weights, selection on validation patients, or a sum that is not secure.",
        "Change the field that the message names, or leave out the [privacy] table.",
    ),
    ErrorPage(
        "WR-1806",
        "study seeds the noise",
        "Whoever knows the seed of the noise can subtract it. Noise and patient sampling come from the hospital's "
        "operating system and can be seeded by no study.",
        "Remove the seed from the [privacy] table.",
    ),
    ErrorPage(
        "WR-1807",
        "privacy budget is not enough",
        "The study would take some patients of this hospital beyond the limit that its admin has set, reservations of "
        "other studies included. Nothing was trained and nothing was spent.",
        "See wardround hospital ledger show. Wait until running studies have settled; settle one that will never end: "
        "wardround hospital ledger settle RUN --home HOME; ask for a study with a smaller epsilon; or have the admin "
        "raise the limit with a reason.",
    ),
    ErrorPage(
        "WR-1808",
        "no limit on epsilon is set",
        "This hospital has not said how much privacy loss its patients may bear, so no study with differential privacy "
        "can be paid for.",
        "A named admin sets it: wardround hospital ledger limit --home HOME --epsilon 10 --delta 1e-5 --admin NAME "
        "--reason TEXT.",
    ),
    ErrorPage(
        "WR-1809",
        "study without differential privacy",
        "A study without a [privacy] table, or without noise, costs its patients an unlimited epsilon. It is refused "
        "wherever a limit is set, and by the default policy.",
        "Give the study a [privacy] table. A hospital without a limit in its ledger may allow such studies in "
        "policy.toml: without_privacy = true. A limit that was set refuses them for good.",
    ),
    ErrorPage(
        "WR-1810",
        "data changed after the reservation",
        "The study run's budget was reserved for other patients than the data set has now, and training on them would "
        "spend a budget that was not checked. Or a patient of the data set has withdrawn from research: taking part "
        "in nothing any more, they stop every study run until their images are out of the data set.",
        "Restore the data set; of patients who have withdrawn, take the images out. Either way a run that was reserved "
        "for others cannot go on: settle it, wardround hospital ledger settle RUN --home HOME, and start a new one.",
    ),
    ErrorPage(
        "WR-1811",
        "ledger is damaged or was edited",
        "The ledger's events do not fit together: one was changed, removed or added by something other than this "
        "program, or the file is damaged. While that is so nothing is spent.",
        "Restore the ledger from a backup with wardround hospital ledger restore; the restored ledger charges what may "
        "have been spent since. If nothing but ledger.head is missing or damaged, the ledger's own file is the backup.",
    ),
    ErrorPage(
        "WR-1812",
        "ledger was rolled back",
        "The ledger is older than one that this hospital has signed before: events that were spent are missing from "
        "it. Going on would spend their budget a second time.",
        "Find the newest ledger, or restore with wardround hospital ledger restore, which charges the worst case.",
    ),
    ErrorPage(
        "WR-1813",
        "ledger, or a file beside it, cannot be read or written",
        "The ledger's file is missing, in use by another process, of another site or release, or the disk is full. No "
        "study is trained that cannot be paid for durably. Or a file that a command was given cannot be read or may "
        "not be written; the message then names the argument.",
        "Make the file readable and writable for the hospital agent, and free disk space.",
    ),
    ErrorPage(
        "WR-1814",
        "patient keys were made under another secret",
        "The ledger knows its patients by keys made with patient.key, and that secret is another one now. Under new "
        "keys every patient would look like a stranger whose budget is untouched.",
        "Restore patient.key from the backup of this hospital.",
    ),
    ErrorPage(
        "WR-1815",
        "not what was reserved",
        "A study run spends only what it reserved before it began. This one has reserved nothing here, or another "
        "study, noise or number of steps, asks for a round beyond its reservation, or has been settled or written off.",
        "Start a new run of the study; a run that has been settled, or was open when the ledger was restored, cannot "
        "go on.",
    ),
    ErrorPage(
        "WR-1816",
        "nobody confirms that the ledger is the newest",
        "This hospital spends nothing unless a witness, another hospital or the coordinator, says which head of the "
        "ledger it saw last. None was heard, or what was heard is not signed as it has to be.",
        "Wait until a witness can be reached. If none will be, an admin restores the ledger from its own file, which "
        "charges the worst case.",
    ),
    ErrorPage(
        "WR-1817",
        "no curve can be drawn",
        "A curve shows one study at several epsilons and trust models, beside the same hospitals without a promise. "
        "The study makes no promise, an epsilon or trust model is none or is named twice, or the reference is about "
        "other patients.",
        "Name a study with a [privacy] table, epsilons above 0 or infinite, the trust models local and distributed, "
        "and a reference with the same sites, task, split and [simulation] table.",
    ),
    ErrorPage(
        "WR-1818",
        "patient ids that the ledger does not know",
        "A withdrawal cannot be taken back, and an id with a typing error, a heading or another form of the ids would "
        "be withdrawn in a patient's place, while the patient stays in.",
        "Mend the lines that the message names. If these are patients who were in no study yet, add --unknown-too.",
    ),
    ErrorPage(
        "WR-1819",
        "initial weights that the promise does not cover",
        "Initial weights tell something of the patients whom they were learnt from. Under a promise the study has to "
        "declare whose they were; if patients of this study were among them, what it cost them would have to be in the "
        "same promise, and it is not.",
        'Declare model.init_data = "public", "disjoint" or "none" if that is true. Otherwise begin with other weights, '
        "or leave out model.init.",
    ),
)
