"""Joining a consortium: the hospital makes its keys, asks, and checks what it is given.

1. Home folder and keys are made here: identity (Ed25519), TLS (ECDSA P-256) and node (ECDSA P-384). They stay.
2. The request with the public keys lies in ``joining/`` until it was answered: asking again sends the same one.
3. It goes out by invite code over the network, or as a file that people carry.
4. The admission is held against the keys. The roster that came with it is an offer (:mod:`wardround.client.offer`).
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from pydantic import TypeAdapter, ValidationError

from wardround.client.home import SETTINGS, Home, create_home, sync_folder, write_atomically
from wardround.client.identity import ROSTER, new_identity, put_back, site_key
from wardround.client.membership import MEMBERSHIP, read_membership, store_membership
from wardround.client.offer import keep_offer
from wardround.common.consortium.enrolment import Admission, EnrolmentRequest, SignedEnrolmentRequest
from wardround.common.consortium.signed import MAX_BYTES
from wardround.common.crypto.certificates import key_pem, key_pin, make_request, pin_of, read_certificate, site_of
from wardround.common.errors import WardroundError
from wardround.common.roster import Site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography import x509

    from wardround.common.consortium.enrolment import InviteCode
    from wardround.common.consortium.signed import Document

REVOKED: Final = "WR-1937"
"""The identity key was revoked."""

_NO: Final = frozenset({"WR-1904", "WR-1907", "WR-1921", REVOKED})
"""Answers after which nobody knows a new identity; after another one, as on a line that broke, somebody may."""

JOINING: Final = "joining"
_REQUEST, _TLS_KEY, _NODE_KEY = "request.json", "site.key", "node.key"
_FRESH: Final = 20 * 86_400
"""How long a request is sent again, seconds; the coordinator takes it for thirty days."""


def prepare_home(path: Path, site: str | None) -> Home:
    """The hospital's home; made where there is none. One of another name that was never used gets the new name.

    Args:
        path: The folder.
        site: The name that the hospital was invited under; None: its home knows it.

    Raises:
        WardroundError: WR-1914, there is no home yet and no name is given, or it is another site's; WR-1931, the
            name is not one; WR-1305, its settings are damaged.
    """
    if (path / SETTINGS).exists():
        home = Home(path)
        if site is None or home.site == site:
            return home
        if not _is_unused(home):
            raise WardroundError("WR-1914", f"The folder is the home of {home.site}, not of {site}.")
        shutil.rmtree(path / JOINING, ignore_errors=True)  # a request under another name
    if site is None:
        fix = "Give the name that the coordinator invited this hospital under: --site NAME."
        raise WardroundError("WR-1914", "There is no hospital's home in this folder yet.", fix=fix)
    try:
        name = TypeAdapter(Site).validate_python(site)
    except ValidationError:
        what = "A site's name has lower-case letters, digits, '.', '_' and '-', and begins with a letter or digit."
        raise WardroundError("WR-1931", what) from None
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return create_home(path, name, [], device="auto", threads=1)


def _is_unused(home: Home) -> bool:
    """Whether nothing came of a home, as after a slip in the name: no membership, no data set, no ledger."""
    return not (
        (home.path / MEMBERSHIP).exists() or (home.path / ROSTER).exists() or home.settings.data or home.ledger.exists
    )


def request(home: Home, label: str = "", *, now: int) -> SignedEnrolmentRequest:
    """What this hospital asks with; the same one again while it was not answered.

    Args:
        home: Its home; keys are made where they are missing.
        label: What people call the hospital; may be empty.
        now: Seconds since 1970, UTC.

    Raises:
        WardroundError: WR-1305, the identity key is damaged; WR-1902, the label is not printable or too long.
    """
    folder = home.path / JOINING
    identity = site_key(home)
    kept = _kept(folder)
    if kept is not None:
        content = kept.verified()
        same = (content.site, content.label, content.identity) == (home.site, label, identity.public.hex())
        if same and now - content.at < _FRESH:
            return kept
    tls, node = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
    try:
        asked = EnrolmentRequest(
            site=home.site,
            label=label,
            identity=identity.public.hex(),
            certificate_request=make_request(tls),
            node=node.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).hex(),
            at=now,
        )
    except ValidationError:
        raise WardroundError("WR-1902", "The label has characters that do not print, or more than 100.") from None
    signed = SignedEnrolmentRequest.sign(asked, identity)
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / _REQUEST).unlink(missing_ok=True)  # it is only there with the keys that belong to it
    write_atomically(folder / _TLS_KEY, key_pem(tls), mode=0o600)
    write_atomically(folder / _NODE_KEY, key_pem(node), mode=0o600)
    write_atomically(folder / _REQUEST, signed.canonical(), mode=0o600)
    return signed


def join_by_code(
    home: Home, code: InviteCode, label: str, serialise: Callable[[str, Document], bytes], *, anew: bool = False
) -> Admission:
    """Join over the network; with a new identity where the coordinator says that this one was revoked.

    Args:
        home: The hospital's home.
        code: From the coordinator.
        label: What people call the hospital; may be empty.
        serialise: The egress gate's.
        anew: With a new identity in any case.

    Raises:
        WardroundError: WR-1904, the code does not count any more; WR-1907, somebody is between; WR-1901, the gateway
            cannot be reached; as :func:`complete`.
    """
    from wardround.client.federation import enrol

    def asked() -> Admission:
        return enrol(code, request(home, label, now=int(time.time())), serialise)

    try:
        admission = _as_somebody_new(home, asked) if anew else asked()
    except WardroundError as error:
        if error.code == "WR-1904" and (home.path / MEMBERSHIP).exists():
            what = f"{home.site} is a member of {read_membership(home.path).consortium} already. {error.what}"
            fix = "Nothing has to be done. To join again with new keys, ask the coordinator for a new code."
            raise WardroundError("WR-1904", what, fix=fix) from error
        if error.code != REVOKED or anew:
            raise
        admission = _as_somebody_new(home, asked)
    complete(home, admission)
    return admission


def _as_somebody_new(home: Home, ask: Callable[[], Admission]) -> Admission:
    """Ask with a new identity; the present one stays where the answer is no."""
    aside = new_identity(home)
    try:
        return ask()
    except WardroundError as error:
        if error.code in _NO:
            put_back(home, aside)
        raise


def read_admission(path: Path) -> Admission:
    """An admission that people brought as a file.

    Raises:
        WardroundError: WR-1902, it cannot be read, or is malformed.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise WardroundError("WR-1902", f"The admission cannot be read ({type(error).__name__}).") from error
    return Admission.from_canonical(content.removesuffix(b"\n"))


def complete(home: Home, admission: Admission) -> None:
    """Hold an admission against this hospital's keys and store it; the roster waits for a person.

    Raises:
        WardroundError: WR-1902, no request of this hospital waits for an answer; WR-1905, the certificate is not for
            this site and its key; WR-1702, the roster is not signed or has another key for this site.
    """
    folder = home.path / JOINING
    kept = _kept(folder)
    if kept is None:
        fix = "Make a request first: wardround hospital join --request FILE"
        raise WardroundError("WR-1902", "No request of this hospital waits for an admission.", fix=fix)
    tls = _p256(folder / _TLS_KEY)
    _check(home, admission, tls)
    keep_offer(home, admission.roster)
    store_membership(home.path, admission, key_pem(tls), (folder / _NODE_KEY).read_bytes())
    for name in (_REQUEST, _TLS_KEY, _NODE_KEY):
        (folder / name).unlink()
    folder.rmdir()
    sync_folder(home.path)


def check_certificate(
    home: Home, consortium: str, certificate: str, authority: str, key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """Refuse a certificate that is not this site's.

    Args:
        home: The hospital's home.
        consortium: Its name.
        certificate: PEM.
        authority: Of the consortium, PEM.
        key: The private key that it should be for.

    Raises:
        WardroundError: WR-1905.
    """
    found = read_certificate(certificate)
    if pin_of(found) != key_pin(key.public_key()):
        raise WardroundError("WR-1905", "The certificate is for another key than this hospital's.")
    if site_of(found) != (consortium, home.site):
        raise WardroundError("WR-1905", "The certificate is for another site or consortium.")
    try:
        found.verify_directly_issued_by(read_certificate(authority))
    except (ValueError, TypeError, InvalidSignature):
        raise WardroundError("WR-1905", "The consortium's authority did not issue the certificate.") from None
    return found


def _check(home: Home, admission: Admission, tls: ec.EllipticCurvePrivateKey) -> None:
    signed = admission.roster
    if admission.site != home.site:
        raise WardroundError("WR-1905", f"The admission is for {admission.site}, and this is {home.site}.")
    check_certificate(home, signed.roster.consortium, admission.certificate, admission.certificate_authority, tls)
    signed.verify()
    if signed.roster.public_key(home.site) != site_key(home).public:
        raise WardroundError("WR-1702", f"The roster has another key for {home.site} than the site's own.")


def _kept(folder: Path) -> SignedEnrolmentRequest | None:
    try:
        return SignedEnrolmentRequest.from_canonical((folder / _REQUEST).read_bytes())
    except FileNotFoundError:
        return None


def _p256(path: Path) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise WardroundError("WR-1902", "The key of the request is not the one that was made for it.")
    return key
