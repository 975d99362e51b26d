"""WR-13xx: messages, rounds, aggregation."""

from __future__ import annotations

from typing import Final

from wardround.common.errors.page import ErrorPage

PAGES: Final[tuple[ErrorPage, ...]] = (
    ErrorPage(
        "WR-1301",
        "message is malformed",
        "A message does not have the fields, types or sizes that both sides agreed on. It is refused whole; "
        "nothing of it is used.",
        "Check that coordinator and hospital run the same release of wardround.",
    ),
    ErrorPage(
        "WR-1302",
        "update is not usable",
        "A site's update holds values that are not finite, or does not belong to this round or model.",
        "Look at the site's training log: a loss that is not finite usually means that the learning rate is too high.",
    ),
    ErrorPage(
        "WR-1303",
        "too few sites in a round",
        "Fewer sites answered than aggregation.min_sites asks for, so the round cannot be committed.",
        "Read which sites were left out and why; mend them and run again, or lower aggregation.min_sites.",
    ),
    ErrorPage(
        "WR-1304",
        "study is not approved here",
        "The message asks for a study whose hash this hospital has not approved.",
        "Approve the study's hash at the hospital, or stop the coordinator from asking.",
    ),
    ErrorPage(
        "WR-1305",
        "hospital home is not usable",
        "The hospital's home folder is missing, its settings are damaged, or the path of a data set cannot be written "
        "into them.",
        "Give the right home folder (--home, or the variable WARDROUND_HOME). A hospital that has none yet gets it with"
        " wardround hospital join - --site NAME. If a data set's path is the matter, register it again, under a path"
        " without control characters.",
    ),
    ErrorPage(
        "WR-1306",
        "site does not take part",
        "The study names sites that did not register, or this site is not one of the study's sites.",
        "Compare the study's sites with the hospitals that are connected.",
    ),
    ErrorPage(
        "WR-1307",
        "no model can be chosen",
        "The study reports the round with the lowest validation loss, and no site gave one. That happens when the "
        "validation part is empty everywhere or when every site's model gives values that are not finite.",
        "Raise split.validation, lower training.learning_rate, or use selection.rule 'last' or 'ema'.",
    ),
    ErrorPage(
        "WR-1308",
        "too little work for the rounds",
        "training.epochs times the training images is less than one sample a round for some sites, so rounds would "
        "have fewer sites than aggregation.min_sites asks for.",
        "Use fewer training.rounds or more training.epochs.",
    ),
)
