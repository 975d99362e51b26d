"""WR-17xx: secure aggregation, identities, roster."""

from __future__ import annotations

from typing import Final

from wardround.common.errors.page import ErrorPage

PAGES: Final[tuple[ErrorPage, ...]] = (
    ErrorPage(
        "WR-1701",
        "secure aggregation message is malformed",
        "A message of the secure sum is truncated, too long, repeated, or holds fields of the wrong size or type. It "
        "is refused whole; nothing of it is used and the session goes on as before.",
        "Check that coordinator and hospital run the same release of wardround.",
    ),
    ErrorPage(
        "WR-1702",
        "roster is not accepted here",
        "The message rests on a roster that this hospital's admin has not accepted, that is not signed by the "
        "consortium, or that lacks a site of the cohort.",
        "Compare the roster's fingerprints with the other hospitals and accept it, or refuse the study.",
    ),
    ErrorPage(
        "WR-1703",
        "key or signature is not genuine",
        "A key or a signature does not verify under the identity key that the accepted roster has for that site, or "
        "was made for another session. Somebody between the hospitals replaced it.",
        "Do not go on before the consortium has found out who replaced the key; compare fingerprints by telephone.",
    ),
    ErrorPage(
        "WR-1704",
        "cohort or threshold is not acceptable",
        "The cohort is too small, names a site twice or leaves this one out, or its threshold is not the one that "
        "this site computes from the number of sites and of colluding sites.",
        "Secure aggregation needs three sites or more; the threshold follows from the cohort and is not chosen.",
    ),
    ErrorPage(
        "WR-1705",
        "round differs from the approved study",
        "The model, its layout, the clipping bounds, the ring or the weights of a round are not those that the "
        "approved study and this round's context fix.",
        "Start the round from the study that the hospitals approved; changed settings are a new study.",
    ),
    ErrorPage(
        "WR-1706",
        "message is out of order",
        "The message belongs to an earlier session, round or attempt, or its step has not been reached. What was "
        "uploaded for an abandoned attempt stays closed.",
        "Begin a new attempt of the round; sites mask the same update anew.",
    ),
    ErrorPage(
        "WR-1707",
        "second opening refused",
        "For this model another sum was already opened, or uploaded in another session. Two sums over different "
        "sites of the same model would give away single updates, so the second one is refused for good.",
        "Commit the sum that was opened, or go on from another model.",
    ),
    ErrorPage(
        "WR-1708",
        "survivor set is not confirmed",
        "Fewer sites than the threshold signed the same survivor set, the set was shown differently to different "
        "sites, or it is too small to be opened.",
        "Ask all surviving sites to confirm one survivor set; with too few of them begin a new attempt.",
    ),
    ErrorPage(
        "WR-1709",
        "share packet is not authentic",
        "A packet of shares is missing, was made for another receiver or round, or was changed on its way.",
        "Begin a new attempt without the site whose packet is damaged.",
    ),
    ErrorPage(
        "WR-1710",
        "update cannot be encoded",
        "The update holds values that are not finite, or has another size than the study's model.",
        "Look at the site's training log: a loss that is not finite usually means that the learning rate is too high.",
    ),
    ErrorPage(
        "WR-1711",
        "too few sites for a secure sum",
        "Fewer sites reached this stage than a secure sum needs, so it was not opened. No update, and no sum of "
        "updates, was learned by anyone.",
        "Read which sites were missing and mend them; then go on with the run (wardround simulate --resume RUN): the "
        "round is tried again with the same updates.",
    ),
    ErrorPage(
        "WR-1712",
        "site policy forbids it",
        "The site's own policy does not allow this mode, this strength, so few colluding sites, or another run of "
        "the study.",
        "Change policy.toml at the hospital if its people agree; a study cannot overrule it.",
    ),
    ErrorPage(
        "WR-1713",
        "secure sum does not open",
        "The shares that sites sent do not give the masks that were committed to, so the sum was not opened; at "
        "least one site sent wrong shares.",
        "Begin a new attempt; if it happens again, leave out the sites that the message names in turn.",
    ),
    ErrorPage(
        "WR-1714",
        "secure aggregation state is not usable",
        "The stored state of a study run is missing, damaged, or belongs to another site or release. Going on "
        "without it could use a mask twice.",
        "A hospital leaves the run (wardround hospital leave) and joins the next one; it never puts an older copy of "
        "these records back, because a site that forgot what it opened can be made to open again. A coordinator ends "
        "the run and starts a new one.",
    ),
    ErrorPage(
        "WR-1715",
        "not answered in private mode or under differential privacy",
        "The question would send a number of a single site in clear. In private mode only the secure sum leaves, with "
        "differential privacy only what has noise in it.",
        "Ask as the study's mode foresees, or run a study in open mode where the hospitals' policies allow it.",
    ),
)
