"""What a coordinator proposes, and what a hospital decided."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from wardround.common.consortium.signed import Document, Moment, Sha256, SignedDocument
from wardround.common.errors import WardroundError
from wardround.common.ids import StudyId
from wardround.common.roster import PublicKey, Site, Text
from wardround.common.study import Study


def _readable(text: str) -> str:
    if not text.replace("\n", "").isprintable():
        raise ValueError("only printable characters and line breaks")
    return text


Words = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_readable)]
"""For people, any script; nothing that steers a terminal or hides what is shown."""


class Proposal(Document):
    """A study that the hospitals are asked to take part in; or, under a later moment, are asked no longer.

    Attributes:
        schema: Version of this format.
        consortium: Its name.
        study: The study's canonical form, as text.
        by: The person who asks, and for whom; or who withdrew it.
        why: What it is for, in plain words; or why it was withdrawn.
        at: When it was proposed, or withdrawn.
        withdrawn: Whether it was withdrawn; left out of the canonical form of one that was not.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    consortium: Annotated[Text, Field(min_length=1)]
    study: Annotated[str, StringConstraints(max_length=1 << 20)]
    by: Annotated[Text, Field(min_length=1)]
    why: Words = ""
    at: Moment
    withdrawn: bool = False

    @model_serializer(mode="wrap")
    def _short(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        if not self.withdrawn:
            fields.pop("withdrawn", None)
        return fields

    @property
    def study_id(self) -> StudyId:
        """The study's id, also of one that this release cannot read."""
        return StudyId("sha256:" + hashlib.sha256(self.study.encode()).hexdigest())

    def read_study(self) -> Study:
        """The study.

        Raises:
            WardroundError: WR-1906, it is no study of this release, or not in canonical form.
        """
        try:
            study = Study.model_validate_json(self.study.encode())
        except ValueError:
            raise WardroundError("WR-1906", "The proposed study is not one that this release knows.") from None
        if study.canonical() != self.study.encode():
            raise WardroundError("WR-1906", "The proposed study is not in canonical form.")
        return study


class SignedProposal(SignedDocument):
    """Signed by the consortium's authority."""

    @classmethod
    def purpose(cls) -> str:
        """Of the signature."""
        return "proposal"

    def verified(self, authority: str) -> Proposal:
        """The proposal.

        Args:
            authority: Public key of the consortium's authority, 64 hex digits.

        Raises:
            WardroundError: WR-1902, it is malformed; WR-1903, the authority did not sign it.
        """
        self.check_signed_by(authority)
        return Proposal.from_canonical(self.content.encode())


class Decision(Document):
    """What a hospital's people decided about a study.

    Attributes:
        schema: Version of this format.
        consortium: Its name.
        authority: Public key of the authority whose proposal was decided on: an approval counts for no other one.
        site: Whose people.
        study: The study's id.
        verdict: ``approved``, ``rejected``, or ``withdrawn`` after it was approved.
        by: The person who decided.
        second: A second person, where the site's policy asks for two.
        reason: For people; may be empty.
        at: When.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    consortium: Annotated[Text, Field(min_length=1)]
    authority: PublicKey | None = None
    site: Site
    study: Sha256
    verdict: Literal["approved", "rejected", "withdrawn"]
    by: Annotated[Text, Field(min_length=1)]
    second: Annotated[Text, Field(min_length=1)] | None = None
    reason: Words = ""
    at: Moment

    @model_validator(mode="after")
    def _two_people(self) -> Self:
        if self.second is not None and self.second.casefold() == self.by.casefold():
            raise ValueError("the second person is the first")
        return self


class SignedDecision(SignedDocument):
    """Signed by the site's identity key."""

    @classmethod
    def purpose(cls) -> str:
        """Of the signature."""
        return "decision"

    def verified(self, identity: str) -> Decision:
        """The decision.

        Args:
            identity: Public key of the site in the roster, 64 hex digits.

        Raises:
            WardroundError: WR-1902, it is malformed; WR-1903, that site did not sign it.
        """
        self.check_signed_by(identity)
        return Decision.from_canonical(self.content.encode())
