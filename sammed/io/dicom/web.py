"""DICOMweb: a series comes from a server, a SEG or RTSTRUCT goes back to it.

An address is ``dicomweb://host[:port][/prefix]/studies/UID/series/UID``, ``dicomwebs://`` for
https. Who may read is never part of it: a token comes from ``SAMMED_DICOMWEB_TOKEN``, a name and a
password from ``SAMMED_DICOMWEB_USER`` and ``SAMMED_DICOMWEB_PASSWORD``, or from ``~/.netrc``.
Proxies and own certificates are taken from the environment as `requests` does.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sammed.errors import (
    BackendUnavailableError,
    InputError,
    OutputError,
    SammedError,
    UnreadableFileError,
)

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

logger = logging.getLogger(__name__)

SCHEMES = {"dicomweb": "http", "dicomwebs": "https"}
FORM = "dicomweb://host[:port][/prefix]/studies/UID/series/UID"
TOKEN, USER, PASSWORD = "SAMMED_DICOMWEB_TOKEN", "SAMMED_DICOMWEB_USER", "SAMMED_DICOMWEB_PASSWORD"
CONNECT_SECONDS, READ_SECONDS = 10.0, 120.0
ATTEMPTS, WAIT_MILLISECONDS = 3, 250

_PATH = re.compile(r"(?P<prefix>.*?)/studies/(?P<study>[^/]+)(/series/(?P<series>[^/]+))?/?")
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_INSTANCES_OF_SERIES = "00201209"

Progress = Callable[[int, "int | None"], None]
"""Called with how many images have come, and how many there are if the server says so."""


@dataclass(frozen=True)
class Address:
    """Where a study, or a series of it, is.

    Attributes
    ----------
    server
        Base of the service, ``http(s)://host[:port][/prefix]``.
    study, series
        UIDs; the series may be empty where only the study matters.
    """

    server: str
    study: str
    series: str = ""

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.server).netloc

    @property
    def secure(self) -> bool:
        """Whether nobody on the way can listen: https, or this very machine."""
        parts = urlsplit(self.server)
        name = parts.hostname or ""
        if parts.scheme == "https" or name == "localhost":
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


def is_address(text: str) -> bool:
    """Whether a text is meant as an address here rather than as a path."""
    return text.split("://")[0].lower() in SCHEMES and "://" in text


def parse(url: str) -> Address:
    """Read an address.

    Parameters
    ----------
    url
        See the module.

    Raises
    ------
    InputError
        If it has another form, or holds a name or password.

    Examples
    --------
    >>> parse("dicomweb://pacs:8042/dicom-web/studies/1.2/series/3.4")
    Address(server='http://pacs:8042/dicom-web', study='1.2', series='3.4')
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(
            f"the DICOMweb address cannot be read ({error}); expected {FORM}"
        ) from error
    if parts.username is not None or parts.password is not None:
        raise InputError(
            f"a DICOMweb address holds no name or password; set {USER} and {PASSWORD}, or {TOKEN}, "
            "or write them into ~/.netrc"
        )
    match = _PATH.fullmatch(parts.path)
    if parts.scheme not in SCHEMES or not host or match is None or parts.query or parts.fragment:
        raise InputError(f"{url} is no DICOMweb address; expected {FORM}")
    study, series = match["study"], match["series"] or ""
    for uid in (study, series or "0"):
        if not _UID.fullmatch(uid) or len(uid) > 64:
            raise InputError(f"{uid!r} in the DICOMweb address is no UID; expected {FORM}")
    netloc = f"[{host}]" if ":" in host else host
    netloc += f":{port}" if port else ""
    return Address(f"{SCHEMES[parts.scheme]}://{netloc}{match['prefix']}", study, series)


@contextmanager
def fetch(url: str, on_progress: Progress | None = None) -> Iterator[Path]:
    """A series in a private temporary folder, which is gone when the block ends.

    Parameters
    ----------
    url
        The address of a series.
    on_progress
        Told after every image that has come.

    Yields
    ------
    Path
        The folder, for `sammed.io.read`.

    Raises
    ------
    InputError
        If the address is none, or is that of a study: the message lists its series.
    UnreadableFileError
        If the server does not answer, refuses, or has no images in the series.
    BackendUnavailableError
        If dicomweb-client is not installed.
    """
    address = parse(url)
    with tempfile.TemporaryDirectory(prefix="sammed-dicomweb-") as folder:
        with _one_line(address, UnreadableFileError), _client(address) as client:
            if not address.series:
                raise InputError(
                    f"{url} is a study; choose a series of it: {_series_of(client, address)}"
                )
            _download(client, address, Path(folder), on_progress)
        yield Path(folder)


def store(path: str | os.PathLike[str], url: str) -> str:
    """Send a DICOM object to a server (STOW-RS).

    Parameters
    ----------
    path
        A DICOM SEG or RTSTRUCT.
    url
        The address of a study or series on the server; the object must belong to the study.

    Returns
    -------
    str
        Address of the stored object's series.

    Raises
    ------
    InputError
        If the file is no DICOM object of that study.
    OutputError
        If the server does not answer, refuses, or does not keep the object.
    BackendUnavailableError
        If dicomweb-client is not installed.
    """
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    address = parse(url)
    try:
        dataset = dcmread(path)
    except (InvalidDicomError, OSError) as error:
        raise UnreadableFileError(f"{path} is no DICOM file; there is nothing to store") from error
    if str(dataset.get("StudyInstanceUID", "")) != address.study:
        raise InputError(
            f"{path} belongs to another study than {url}; store it where its images are"
        )
    with _one_line(address, OutputError), _client(address) as client:
        client.set_http_retry_params(retry=False)  # it would send what is left of the first try
        answer = client.store_instances([dataset], study_instance_uid=address.study)
        _check_stored(answer, address)
    logger.info("stored %s on %s", dataset.SOPInstanceUID, address.host)
    base = url.split("/studies/")[0]
    return f"{base}/studies/{address.study}/series/{dataset.SeriesInstanceUID}"


def _check_stored(answer: Any, address: Address) -> None:
    failed = answer.get("FailedSOPSequence") or answer.get("OtherFailuresSequence") or []
    if failed:
        reason = failed[0].get("FailureReason")
        code = f" (reason {int(reason):#06x})" if reason is not None else ""
        raise OutputError(f"{address.host} did not keep the object{code}; ask its administrator")


def _download(
    client: DICOMwebClient, address: Address, folder: Path, on_progress: Progress | None
) -> None:
    total = _size_of(client, address)
    done = 0
    # as stored there, whatever the compression: nothing is decoded for the way
    images = client.iter_series(
        address.study, address.series, media_types=(("application/dicom", "*"),)
    )
    for done, dataset in enumerate(images, 1):
        _save(dataset, folder / f"{done:06d}.dcm")
        if on_progress is not None:
            on_progress(done, total)
    if not done:
        raise UnreadableFileError(f"{address.host} sent no image of series {address.series}")
    if total is not None and done < total:
        raise UnreadableFileError(
            f"{address.host} sent {done} of {total} images of series {address.series}; try again"
        )


def _save(dataset: Any, path: Path) -> None:
    try:
        dataset.save_as(path, enforce_file_format=True)
    except OSError as error:
        raise OutputError(
            f"cannot keep the series in {path.parent}: {error.strerror or error}; TMPDIR chooses "
            "another place"
        ) from error


def _size_of(client: DICOMwebClient, address: Address) -> int | None:
    """How many images the series has; None if the server cannot search."""
    from requests.exceptions import HTTPError

    try:
        found = client.search_for_series(
            address.study, search_filters={"SeriesInstanceUID": address.series}
        )
    except HTTPError as error:
        if error.response is not None and error.response.status_code in (401, 403, 404):
            raise
        return None
    if not found:
        raise UnreadableFileError(
            f"{address.host} has no series {address.series} in study {address.study}; check the "
            "address"
        )
    value = found[0].get(_INSTANCES_OF_SERIES, {}).get("Value")
    return int(value[0]) if value else None


def _series_of(client: DICOMwebClient, address: Address) -> str:
    """The study's series in one line: modality, description, number of images, UID."""
    texts = []
    for item in client.search_for_series(address.study):
        modality, description, count, uid = (
            (item.get(tag, {}).get("Value") or ["?"])[0]
            for tag in ("00080060", "0008103E", _INSTANCES_OF_SERIES, "0020000E")
        )
        texts.append(f"{modality} {description!r} ({count} images) /series/{uid}")
    return "; ".join(texts) or "the server finds none"


@contextmanager
def _client(address: Address) -> Iterator[DICOMwebClient]:
    try:
        import requests
        from dicomweb_client import DICOMwebClient
    except ImportError as error:
        raise BackendUnavailableError(
            "DICOMweb needs dicomweb-client; install it: pip install 'sammed[dicom]'"
        ) from error
    with requests.Session() as session:
        _authorise(session, address)
        client = DICOMwebClient(
            address.server, session=session, timeout=(CONNECT_SECONDS, READ_SECONDS)
        )
        client.set_http_retry_params(
            max_attempts=ATTEMPTS, wait_exponential_multiplier=WAIT_MILLISECONDS
        )
        yield client


def _authorise(session: Any, address: Address) -> None:
    """Put in what the environment says; without it `requests` looks into ``~/.netrc``."""
    token, user = os.environ.get(TOKEN), os.environ.get(USER)
    if token:
        session.auth = _Bearer(token)
    elif user:
        session.auth = (user, os.environ.get(PASSWORD, ""))
    if (token or user) and not address.secure:
        logger.warning(
            "the credentials go to %s unencrypted; dicomwebs:// encrypts them", address.host
        )


class _Bearer:
    """Sends a token with each request; `requests` drops it when it is sent to another host."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


@contextmanager
def _one_line(address: Address, kind: type[SammedError]) -> Iterator[None]:
    """Turn what can go wrong on the way into one line."""
    from pydicom.errors import InvalidDicomError

    try:
        yield
    except SammedError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, InvalidDicomError) as error:
        raise kind(
            f"{address.server} does not answer as a DICOMweb server does "
            f"({' '.join(str(error).split())[:120]}); check host, port and prefix"
        ) from error
    except OSError as error:  # requests' other exceptions are of this kind
        raise kind(_reason(error, address)) from error


def _reason(error: OSError, address: Address) -> str:
    from requests import exceptions

    host = address.host
    if isinstance(error, exceptions.HTTPError) and error.response is not None:
        return _status(error.response.status_code, error.response.reason, address)
    if isinstance(error, exceptions.SSLError):
        return (
            f"{host} has no certificate that this machine trusts; set REQUESTS_CA_BUNDLE to your "
            "authority's, or use dicomweb:// if it does not encrypt"
        )
    if isinstance(error, exceptions.Timeout):
        return f"{host} does not answer in time; check the address and the network"
    if isinstance(error, exceptions.ConnectionError):
        unknown = "NameResolution" in repr(error) or "getaddrinfo" in repr(error)
        why = "its name is unknown" if unknown else "the connection was refused or broke"
        return f"cannot reach {host}: {why}; check the address and the network"
    return f"the transfer from or to {host} broke off ({type(error).__name__}); try again"


def _status(code: int, reason: str, address: Address) -> str:
    host = address.host
    if code in (401, 403):
        return (
            f"{host} refuses access ({code}); set {USER} and {PASSWORD}, or {TOKEN}, or write them "
            "into ~/.netrc"
        )
    if code == 404:
        return (
            f"{host} does not know this address (404); check the prefix of the DICOMweb service, "
            f"the study {address.study}"
            + (f" and the series {address.series}" * bool(address.series))
        )
    return f"{host} answers with an error ({code} {reason}); ask its administrator"
