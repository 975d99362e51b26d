"""Invite, enrol, renew, revoke: who gets in, once, under which keys; and who does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.joining import DAY, NOW, Hospital, pin

from wardround.common.crypto.certificates import certificate_hash, read_certificate, site_of
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.server.consortium import Consortium, create_consortium
from wardround.server.consortium.membership import GRACE, MOST_CERTIFICATES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wardround.common.consortium.enrolment import Admission
    from wardround.server.store import CertificateRow

OAK, ELM = SiteId("oak"), SiteId("elm")


@pytest.fixture
def consortium(tmp_path: Path) -> Iterator[Consortium]:
    """An empty consortium."""
    with create_consortium(tmp_path / "wards", "The wards", "wards.example.org:443", now=NOW) as made:
        yield made


def known(consortium: Consortium, admission: Admission) -> CertificateRow:
    """What the gateway finds for the certificate of an admission."""
    found = consortium.store.certificate(certificate_hash(read_certificate(admission.certificate)))
    assert found is not None
    return found


def state(consortium: Consortium) -> tuple[object, ...]:
    """Everything but the count of writes."""
    store = consortium.store
    certificates = [store.certificates(row.name) for row in store.sites()]
    return store.sites(), store.invites(), store.rosters(), certificates, store.events()


def test_a_site_joins_by_its_code_and_the_roster_names_its_key(consortium: Consortium) -> None:
    oak = Hospital("oak")
    code = consortium.invite("oak", "Oak clinic", now=NOW)
    assert consortium.store.newest_roster() is None
    admission = oak.join(consortium, code=code)
    admission.roster.verify()
    assert admission.roster.authority == consortium.authority.public.hex()
    assert admission.roster.roster.consortium == "The wards"
    assert admission.roster.roster.public_key(OAK) == oak.identity.public
    assert admission.roster.roster.members[OAK].label == "Oak clinic"
    assert (admission.site, admission.address, admission.node_id) == (OAK, "wards.example.org:443", 0)
    certificate = read_certificate(admission.certificate)
    certificate.verify_directly_issued_by(read_certificate(admission.certificate_authority))
    assert site_of(certificate) == ("The wards", OAK)
    assert known(consortium, admission).valid(NOW)
    assert not known(consortium, admission).valid(NOW + 90 * DAY)


def test_a_code_is_used_once(consortium: Consortium) -> None:
    code = consortium.invite("oak", now=NOW)
    Hospital("oak").join(consortium, code=code)
    before = state(consortium)
    with pytest.raises(WardroundError, match="WR-1904"):
        Hospital("oak").join(consortium, code=code)
    assert state(consortium) == before


def test_a_site_that_the_answer_did_not_reach_gets_it_again(consortium: Consortium) -> None:
    oak, code = Hospital("oak"), consortium.invite("oak", now=NOW)
    request = oak.request()
    first = consortium.enrol(request, now=NOW, invite_pin=pin(code))
    before = state(consortium)
    assert consortium.enrol(request, now=NOW + 60, invite_pin=pin(code)) == first
    assert state(consortium) == before
    with pytest.raises(WardroundError, match="WR-1904"):
        consortium.enrol(request, now=NOW + 60, invite_pin="0" * 64)


def test_a_code_ends(consortium: Consortium) -> None:
    code = consortium.invite("oak", days=2, now=NOW)
    with pytest.raises(WardroundError, match=r"WR-1904.*expired"):
        Hospital("oak").join(consortium, now=NOW + 2 * DAY, code=code)
    Hospital("oak").join(consortium, now=NOW + 2 * DAY - 1, code=code)
    for days in (0, 366):
        with pytest.raises(WardroundError, match="WR-1904"):
            consortium.invite("elm", days=days, now=NOW)


def test_a_code_is_for_its_site_alone_and_a_newer_one_ends_it(consortium: Consortium) -> None:
    first = consortium.invite("oak", now=NOW)
    consortium.invite("elm", now=NOW)
    with pytest.raises(WardroundError, match="WR-1904"):
        Hospital("elm").join(consortium, code=first)
    second = consortium.invite("oak", now=NOW)
    with pytest.raises(WardroundError, match="WR-1904"):
        Hospital("oak").join(consortium, code=first)
    Hospital("oak").join(consortium, code=second)


def test_a_code_ends_when_its_site_joins_by_files(consortium: Consortium) -> None:
    code, oak = consortium.invite("oak", now=NOW), Hospital("oak")
    consortium.enrol(oak.request(), now=NOW, invite_pin=None)
    with pytest.raises(WardroundError, match="WR-1904"):
        Hospital("oak").join(consortium, code=code)
    assert consortium.trusted_roots(NOW).count(b"BEGIN CERTIFICATE") == 1


def test_connections_are_opened_by_codes_that_are_open_or_were_just_used(consortium: Consortium) -> None:
    assert consortium.trusted_roots(NOW).count(b"BEGIN CERTIFICATE") == 1
    code = consortium.invite("oak", days=1, now=NOW)
    consortium.invite("elm", days=1, now=NOW)
    assert consortium.trusted_roots(NOW).count(b"BEGIN CERTIFICATE") == 3
    Hospital("oak").join(consortium, code=code)
    assert consortium.trusted_roots(NOW).count(b"BEGIN CERTIFICATE") == 3
    assert consortium.trusted_roots(NOW + GRACE).count(b"BEGIN CERTIFICATE") == 2
    consortium.revoke("elm", "changed their mind", now=NOW)
    assert consortium.trusted_roots(NOW).count(b"BEGIN CERTIFICATE") == 2
    assert consortium.trusted_roots(NOW + DAY).count(b"BEGIN CERTIFICATE") == 1


def test_a_site_joins_by_files(consortium: Consortium, tmp_path: Path) -> None:
    oak, path = Hospital("oak"), tmp_path / "request.json"
    path.write_bytes(oak.request(label="Oak clinic").canonical() + b"\n")
    admission = consortium.admit_file(path, now=NOW)
    assert admission.roster.roster.members[OAK].label == "Oak clinic"
    assert consortium.admit_file(path, now=NOW) == admission
    for content in (b"", b"{}", path.read_bytes()[:-9], b"\xff" * 100, b"[" * 100_000, b" " * (5 << 20)):
        path.write_bytes(content)
        with pytest.raises(WardroundError, match="WR-1902"):
            consortium.admit_file(path, now=NOW)
    with pytest.raises(WardroundError, match="WR-1902"):
        consortium.admit_file(tmp_path / "nothing.json", now=NOW)


def test_a_member_joins_again_only_if_the_coordinator_says_so(consortium: Consortium, tmp_path: Path) -> None:
    Hospital("oak").join(consortium)
    path, new = tmp_path / "request.json", Hospital("oak")
    path.write_bytes(new.request().canonical())
    before = state(consortium)
    with pytest.raises(WardroundError, match="WR-1921"):
        consortium.invite("oak", now=NOW)
    with pytest.raises(WardroundError, match="WR-1921"):
        consortium.admit_file(path, now=NOW)
    assert state(consortium) == before
    admission = consortium.admit_file(path, now=NOW, again=True)
    assert admission.roster.roster.public_key(OAK) == new.identity.public


def test_new_keys_of_one_site_touch_no_other(consortium: Consortium) -> None:
    oak, elm, new = Hospital("oak"), Hospital("elm"), Hospital("oak")
    first, others = oak.join(consortium), elm.join(consortium)
    code = consortium.rekey("oak", now=NOW)
    assert known(consortium, first).valid(NOW)
    again = new.join(consortium, code=code)
    assert again.roster.roster.version == 3
    assert again.roster.roster.public_key(OAK) == new.identity.public
    assert again.roster.roster.members[ELM] == others.roster.roster.members[ELM]
    assert not known(consortium, first).valid(NOW)
    assert known(consortium, again).valid(NOW)
    assert known(consortium, others).valid(NOW)
    with pytest.raises(WardroundError, match="WR-1921"):
        consortium.rekey("ash", now=NOW)


def test_a_site_whose_certificate_ended_joins_again_with_the_same_keys_in_the_same_roster(
    consortium: Consortium,
) -> None:
    oak = Hospital("oak")
    first = oak.join(consortium)
    later = NOW + 91 * DAY
    again = oak.join(consortium, now=later, code=consortium.rekey("oak", now=later))
    assert again.roster == first.roster
    assert known(consortium, again).valid(later)


def test_a_certificate_is_renewed_and_the_old_one_holds_to_its_end(consortium: Consortium) -> None:
    oak, fresh = Hospital("oak"), Hospital("oak")
    first = oak.join(consortium)
    later = NOW + 60 * DAY
    renewed = consortium.renew(OAK, fresh.csr, now=later)
    row = consortium.store.certificate(certificate_hash(read_certificate(renewed.certificate)))
    assert row is not None
    assert (row.valid(later + 89 * DAY), row.valid(later + 90 * DAY)) == (True, False)
    assert known(consortium, first).valid(later)
    assert consortium.renew(OAK, fresh.csr, now=later + 60) == renewed
    assert consortium.renew(OAK, fresh.csr, now=later + DAY) != renewed
    for name, code in (("ash", "WR-1921"), ("oak", "WR-1902")):
        with pytest.raises(WardroundError, match=code):
            consortium.renew(SiteId(name), fresh.csr if name == "ash" else "no request", now=later)


def test_a_site_cannot_fill_the_database_with_certificates(consortium: Consortium) -> None:
    Hospital("oak").join(consortium)
    for _ in range(MOST_CERTIFICATES - 1):
        consortium.renew(OAK, Hospital("oak").csr, now=NOW)
    with pytest.raises(WardroundError, match="WR-1910"):
        consortium.renew(OAK, Hospital("oak").csr, now=NOW)
    consortium.renew(OAK, Hospital("oak").csr, now=NOW + 90 * DAY)


def test_a_revoked_site_is_out_at_once(consortium: Consortium) -> None:
    oak, elm = Hospital("oak"), Hospital("elm")
    first, others = oak.join(consortium), elm.join(consortium)
    roster = consortium.revoke("oak", "lost laptop", now=NOW)
    assert roster is not None
    roster.verify()
    assert (roster.roster.version, set(roster.roster.members)) == (3, {ELM})
    assert not known(consortium, first).valid(NOW)
    assert known(consortium, others).valid(NOW)
    row = consortium.store.site(OAK)
    assert row is not None
    assert (row.state, row.reason, row.revoked_at) == ("revoked", "lost laptop", NOW)
    before = state(consortium)
    for refused in ("oak", "ash"):
        with pytest.raises(WardroundError, match="WR-1921"):
            consortium.revoke(refused, "again", now=NOW)
    with pytest.raises(WardroundError, match="WR-1921"):
        consortium.renew(OAK, oak.csr, now=NOW)
    assert state(consortium) == before


def test_a_revoked_site_joins_with_a_new_invite_and_a_new_request(consortium: Consortium, tmp_path: Path) -> None:
    oak, path = Hospital("oak"), tmp_path / "request.json"
    path.write_bytes(oak.request().canonical())
    first = consortium.admit_file(path, now=NOW)
    consortium.revoke("oak", "", now=NOW)
    with pytest.raises(WardroundError, match=r"WR-1921.*used before"):
        consortium.admit_file(path, now=NOW)
    same, code = replace(Hospital("oak"), identity=oak.identity), consortium.invite("oak", now=NOW)
    before = state(consortium)
    for attempt in (
        lambda: same.join(consortium, code=code),
        lambda: consortium.enrol(same.request(), now=NOW, invite_pin=None),
        lambda: consortium.enrol(same.request(), now=NOW, invite_pin=None, again=True),
    ):
        with pytest.raises(WardroundError, match=r"WR-1937.*identity key of oak was revoked"):
            attempt()
    assert state(consortium) == before
    again = Hospital("oak").join(consortium, now=NOW + 1, code=code)
    assert known(consortium, again).valid(NOW)
    assert not known(consortium, first).valid(NOW)
    assert set(again.roster.roster.members) == {OAK}
    with pytest.raises(WardroundError, match="WR-1937"):  # also when it has another one
        consortium.enrol(same.request(NOW + 2), now=NOW + 2, invite_pin=None, again=True)


def test_an_invite_is_withdrawn_and_a_name_that_never_joined_is_free(consortium: Consortium) -> None:
    Hospital("oak").join(consortium)
    with pytest.raises(WardroundError, match=r"WR-1921.*no open invite"):
        consortium.withdraw_invite("oak", now=NOW)
    again, slip = consortium.rekey("oak", now=NOW), consortium.invite("eml", now=NOW)
    assert not consortium.withdraw_invite("oak", now=NOW)
    assert consortium.withdraw_invite("eml", now=NOW)
    for site, code in (("oak", again), ("eml", slip)):
        with pytest.raises(WardroundError, match="WR-1904"):
            Hospital(site).join(consortium, code=code)
    assert [(row.name, row.state) for row in consortium.store.sites()] == [("oak", "member")]
    with pytest.raises(WardroundError, match=r"WR-1921.*There is no site eml"):
        consortium.withdraw_invite("eml", now=NOW)
    consortium.invite("emo", now=NOW)
    consortium.withdraw_invite("emo", now=NOW)
    Hospital("emo").join(consortium)  # the name can be used


def test_a_request_that_was_replaced_cannot_be_used_again(consortium: Consortium) -> None:
    old = Hospital("oak")
    request = old.request()
    consortium.enrol(request, now=NOW, invite_pin=None)
    Hospital("oak").join(consortium, code=consortium.rekey("oak", now=NOW))
    code = consortium.rekey("oak", now=NOW)
    before = state(consortium)
    with pytest.raises(WardroundError, match=r"WR-1921.*used before"):
        consortium.enrol(request, now=NOW, invite_pin=pin(code))
    assert state(consortium) == before


def test_the_last_member_goes_and_the_next_one_is_in_the_next_version(consortium: Consortium) -> None:
    Hospital("oak").join(consortium)
    roster = consortium.revoke("oak", "", now=NOW)
    assert roster is not None
    assert (roster.roster.version, set(roster.roster.members)) == (2, set())
    assert roster == consortium.store.newest_roster()
    admission = Hospital("elm").join(consortium)
    assert (admission.roster.roster.version, set(admission.roster.roster.members)) == (3, {ELM})


def test_the_gateways_certificate_is_renewed_under_the_same_pin(consortium: Consortium) -> None:
    first = consortium.server_credentials(NOW)
    assert consortium.server_credentials(NOW + 300 * DAY) == first
    code = consortium.invite("oak", now=NOW)
    second = consortium.server_credentials(NOW + 370 * DAY)
    assert second[0] == first[0]
    assert second[1] != first[1]
    assert consortium.invite("oak", now=NOW).pin == code.pin
