"""The hospital's home folder: its settings, its secret, the studies it approved.

``hospital.toml`` names the site and its data sets, ``policy.toml`` says what no study can overrule,
``studies/`` holds the studies that were approved here, with the names of the data sets that they may use, and
``models/`` files of weights that studies begin with (one file a hash), ``patient.key`` the secret under which
patient keys are made, ``identity.key`` and ``roster.json`` who the site is and whom it takes its peers for
(:mod:`wardround.client.identity`), and ``runs/`` what study runs left at the site.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from wardround.client.policy import POLICY, Policy, read_policy
from wardround.common import weights
from wardround.common.errors import WardroundError
from wardround.common.ids import PatientKey, SiteId, StudyId
from wardround.common.study import Name, Study, parse_toml, validated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardround.client.ledger.ledger import Ledger
    from wardround.common.privacy.witness import SignedHead

SETTINGS: Final = "hospital.toml"
HOME_VARIABLE: Final = "WARDROUND_HOME"
"""Environment variable with the path of the home folder."""

SECRET_BYTES: Final = 32
_FINGERPRINT: Final = b"wardround/1/patient.key/fingerprint"
"""What the fingerprint of the secret is an HMAC of."""

_NAMES: Final = TypeAdapter(tuple[Name, ...])

_UNWRITABLE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
"""What a TOML string cannot hold: control characters but the tab, and halves of surrogate pairs."""


class RegisteredData(BaseModel):
    """A data set that the hospital registered.

    Attributes:
        manifest: Path of its manifest.
        root: Folder that the manifest's paths are relative to; None: the manifest's own.
        name: What people here call it; None where a program registered it.
        manifest_sha256: Of the manifest when it was registered, 64 hex digits; with another one it is not used.
        digest: Of manifest, used rows and all images when it was registered.
        patients: How many it had then.
        images: How many samples it had then.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    manifest: Path
    root: Path | None = None
    name: Name | None = None
    manifest_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    patients: Annotated[int, Field(ge=1)] | None = None
    images: Annotated[int, Field(ge=1)] | None = None


class WorkerSettings(BaseModel):
    """``[worker]`` in ``hospital.toml``: the process that trains.

    Attributes:
        memory_mb: Largest address space, MiB; None: as much as the system gives. The libraries alone need a third of
            the smallest value. Of no use with a GPU, whose driver reserves more addresses than it ever uses.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory_mb: Annotated[int, Field(ge=2048, le=1 << 24)] | None = None


class HospitalSettings(BaseModel):
    """``hospital.toml``.

    Attributes:
        site: The hospital's name in studies.
        data: Its data sets; a study trains on those that were chosen when it was approved, else on all together.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        threads: Processor threads for training.
        worker: The process that trains.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal[1] = Field(alias="schema")
    site: Name
    data: tuple[RegisteredData, ...] = ()
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    worker: WorkerSettings = WorkerSettings()

    @model_validator(mode="after")
    def _one_name_each(self) -> Self:
        names = [item.name for item in self.data if item.name is not None]
        if len(set(names)) != len(names):
            raise ValueError("two data sets have the same name")
        return self


class Home:
    """A hospital's home folder.

    Args:
        path: The folder.

    Raises:
        WardroundError: WR-1305, there is no usable ``hospital.toml``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = (path / SETTINGS).read_text(encoding="utf-8")
        except OSError as error:
            raise WardroundError("WR-1305", f"No {SETTINGS} can be read ({type(error).__name__}).") from error
        self.settings = validated(HospitalSettings, parse_toml(text), "WR-1305", SETTINGS)
        self._secret = _secret(path / "patient.key")
        self.heard: Sequence[SignedHead | None] | None = None
        """What witnesses of the ledger said when they were asked for the work at hand; None: nobody was asked."""

    @property
    def site(self) -> SiteId:
        """The hospital's name in studies."""
        return SiteId(self.settings.site)

    @property
    def policy(self) -> Policy:
        """The site's policy, read anew so that a change holds at once.

        Raises:
            WardroundError: WR-1305, ``policy.toml`` is damaged.
        """
        return read_policy(self.path)

    def run_folder(self, run: str) -> Path:
        """What a study run left at this site."""
        return self.path / "runs" / run

    def patient_key(self, patient: str) -> PatientKey:
        """HMAC-SHA256 of the patient's id under the site's secret, 32 hex digits."""
        return PatientKey(hmac.new(self._secret, patient.encode(), hashlib.sha256).hexdigest()[:32])

    @property
    def secret_fingerprint(self) -> str:
        """Tells this secret from another one without giving it away, 64 hex digits."""
        return hmac.new(self._secret, _FINGERPRINT, hashlib.sha256).hexdigest()

    @cached_property
    def ledger(self) -> Ledger:
        """The hospital's privacy ledger; its events are read once, and again when another process has written."""
        from wardround.client.identity import earlier_identities, site_key
        from wardround.client.ledger.ledger import Ledger, Owner

        owner = Owner(self.site, self.secret_fingerprint, lambda: site_key(self), lambda: earlier_identities(self))
        return Ledger(self.path, owner, os.urandom, require_witness=lambda: self.policy.require_witness)

    def approve(self, study: Study, data: Sequence[str] = ()) -> None:
        """Record that a study may run here.

        Args:
            study: The study.
            data: Names of the data sets that it may use; none: all that are registered when it runs.

        Raises:
            WardroundError: WR-1920, there is no data set of such a name.
        """
        if data:
            registered(self.settings, data)
        folder = self.path / "studies"
        folder.mkdir(exist_ok=True)
        names = folder / _data_file(study.id)
        if data:
            write_atomically(names, json.dumps(list(data), ensure_ascii=False).encode())
        else:
            names.unlink(missing_ok=True)
        write_atomically(folder / _study_file(study.id), study.canonical())

    def withdraw(self, study: StudyId) -> None:
        """A study may not run here any more, from now on; durable on return. One that may not is left so."""
        path = self.path / "studies" / _study_file(study)
        if path.exists():
            path.unlink()
            sync_folder(path.parent)

    def data_of(self, study: StudyId) -> tuple[RegisteredData, ...]:
        """The data sets that an approved study may use.

        Raises:
            WardroundError: WR-1920, there is none, or one that was chosen is not registered any more.
        """
        return registered(self.settings, self.names_of(study))

    def names_of(self, study: StudyId) -> tuple[str, ...]:
        """Names of the data sets that a study was approved for; none: all that are registered.

        Raises:
            WardroundError: WR-1304, the file that says so is damaged.
        """
        try:
            return _NAMES.validate_json((self.path / "studies" / _data_file(study)).read_bytes())
        except FileNotFoundError:
            return ()
        except ValidationError:
            raise self._not_approved(study) from None

    def approved(self, study: StudyId) -> Study:
        """The approved study of this hash.

        Raises:
            WardroundError: WR-1304, it is not approved here, or its file was changed since.
        """
        try:
            found, its_id = _read_study((self.path / "studies" / _study_file(study)).read_bytes())
        except (FileNotFoundError, ValidationError):
            raise self._not_approved(study) from None
        if its_id != study:
            raise self._not_approved(study)
        return found

    def is_approved(self, study: StudyId) -> bool:
        """Whether a study may run here."""
        try:
            self.approved(study)
        except WardroundError:
            return False
        return True

    def weights(self, digest: str) -> bytes:
        """The file of weights of this SHA-256, 64 hex digits, which a person has put here.

        Raises:
            WardroundError: WR-1208, it is not here, or has another hash.
        """
        try:
            content = (self.path / weights.FOLDER / weights.file_name(digest)).read_bytes()
        except FileNotFoundError:
            raise weights.missing(digest, f"The home of {self.site}") from None
        except OSError as error:
            raise weights.unreadable(digest, f"the home of {self.site}", error) from error
        return weights.verified(content, digest)

    def keep_weights(self, content: bytes) -> None:
        """Put a file of weights here, under the name that :meth:`weights` looks for."""
        folder = self.path / weights.FOLDER
        folder.mkdir(exist_ok=True)
        write_atomically(folder / weights.file_name(hashlib.sha256(content).hexdigest()), content)

    def _not_approved(self, study: StudyId) -> WardroundError:
        return WardroundError("WR-1304", f"Study {study[:19]}… is not approved at {self.site}.")


@lru_cache(maxsize=64)
def _read_study(content: bytes) -> tuple[Study, StudyId]:
    """A study and its id. The file is read for every message, so that a change is seen; parsed once."""
    study = Study.model_validate_json(content)
    return study, study.id


def open_home(path: Path | None) -> Home:
    """The hospital's home folder that a command names.

    Args:
        path: As given; None: neither by option nor by variable.

    Raises:
        WardroundError: WR-1914, none is named; WR-1305, there is no usable ``hospital.toml``.
    """
    return Home(named_home(path))


def named_home(path: Path | None) -> Path:
    """The folder that a command names, whether it is a hospital's yet or not.

    Args:
        path: As given; None: neither by option nor by variable.

    Raises:
        WardroundError: WR-1914, none is named.
    """
    if path is None:
        fix = f"Give the hospital's folder with --home DIR, or in the variable {HOME_VARIABLE}."
        raise WardroundError("WR-1914", "No hospital's folder is named.", fix=fix)
    return path


def registered(settings: HospitalSettings, names: Sequence[str]) -> tuple[RegisteredData, ...]:
    """Data sets by their names; all of them where no name is given.

    Raises:
        WardroundError: WR-1920, there is none, or none of such a name.
    """
    if not settings.data:
        fix = "Register one: wardround hospital data add MANIFEST.toml"
        raise WardroundError("WR-1920", f"No data set is registered at {settings.site}.", fix=fix)
    if not names:
        return settings.data
    known = {item.name: item for item in settings.data}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise WardroundError("WR-1920", f"No data set {unknown[0]!r} is registered at {settings.site}.")
    return tuple(known[name] for name in dict.fromkeys(names))


def create_home(
    path: Path,
    site: SiteId,
    data: Sequence[RegisteredData],
    *,
    device: str,
    threads: int,
    secret: bytes | None = None,
    policy: Policy | None = None,
) -> Home:
    """Make a hospital's home folder.

    Args:
        path: The folder; made if it is missing.
        site: The hospital's name in studies.
        data: Its data sets.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        threads: Processor threads for training.
        secret: Secret for patient keys, 32 bytes. Real hospitals leave it out and it is drawn from
            the operating system; virtual ones give a public one so that runs can be compared.
        policy: What no study can overrule; None leaves what is there, and the defaults where nothing is.
    """
    path.mkdir(parents=True, exist_ok=True)
    if secret is not None:
        write_atomically(path / "patient.key", secret, mode=0o600)
    if policy is not None:
        write_atomically(path / POLICY, policy.as_toml())
    lines = ["schema = 1", f'site = "{site}"', f'device = "{device}"', f"threads = {threads}"]
    for item in data:
        lines += ["", *data_lines(item)]
    write_atomically(path / SETTINGS, ("\n".join(lines) + "\n").encode())
    return Home(path)


def data_lines(item: RegisteredData) -> list[str]:
    """A data set as ``hospital.toml`` has it.

    Raises:
        WardroundError: WR-1305, a path holds what a TOML string cannot.
    """
    lines = ["[[data]]", f"manifest = {_toml_string(item.manifest)}"]
    if item.root is not None:
        lines.append(f"root = {_toml_string(item.root)}")
    texts = {"name": item.name, "manifest_sha256": item.manifest_sha256, "digest": item.digest}
    lines += [f'{field} = "{value}"' for field, value in texts.items() if value is not None]
    numbers = {"patients": item.patients, "images": item.images}
    return lines + [f"{field} = {value}" for field, value in numbers.items() if value is not None]


def write_atomically(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file so that it is either the old or the new one, whatever happens; durable on return."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a new file's content alone does not survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _secret(path: Path) -> bytes:
    if not path.exists():
        write_atomically(path, secrets.token_bytes(SECRET_BYTES), mode=0o600)
    secret = path.read_bytes()
    if len(secret) != SECRET_BYTES:
        raise WardroundError("WR-1305", "patient.key is damaged: it does not hold 32 bytes.")
    return secret


def _study_file(study: StudyId) -> str:
    return f"{study.removeprefix('sha256:')}.json"


def _data_file(study: StudyId) -> str:
    return f"{study.removeprefix('sha256:')}.data.json"


def _toml_string(path: Path) -> str:
    text = str(path)
    if _UNWRITABLE.search(text):
        raise WardroundError("WR-1305", "The path of a data set holds control characters or is not valid Unicode.")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
