"""`orbitferry domain acme`: a node's certificate from an ACME server (RFC 8555, RFC 9891)."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stack.cli.common import CommandError, Json, NodePath, client_of, duration, quantity
from stack.cli.domain.enrolment import (
    AlgorithmOption,
    AuthorityMark,
    IdentityPath,
    Jurisdictions,
    Roles,
    SignatureAlgorithm,
    begin,
    read_answer,
    take,
)
from stack.cli.domain.secrets import (
    DryRun,
    PassphraseFile,
    TokenOption,
    Yes,
    asking,
)
from stack.cli.output import answer, note

if TYPE_CHECKING:
    from stack.engines.acme.client import Account, AcmeClient, Offered, Work
    from stack.identity import NodeFolder, NodeRequest

RTT_S_MAX = 12 * 3600.0
WAIT_S = 60.0
"""For the server's own work, beside twice the round trip."""


NodeId = Annotated[str | None, typer.Argument(metavar="NODE", help="Node id, such as dtn://gs1/.")]
Server = Annotated[str, typer.Option(metavar="URL", help="The directory of the server (https).")]
UpdatePath = Annotated[
    Path | None,
    typer.Option(
        "--update",
        "-u",
        metavar="FILE",
        help="What `orbitferry domain export` of the authority has written: its revocation "
        "list, which comes with no ACME certificate. Needed once.",
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Whom to believe that it is the server (PEM)."),
]
Contacts = Annotated[
    list[str] | None,
    typer.Option(metavar="URL", help="For the server's operator, mailto:. May be repeated."),
]
Agree = Annotated[bool, typer.Option("--agree", help="To the terms of service of the server.")]
BindingId = Annotated[
    str, typer.Option(metavar="ID", help="By which the authority knows the account otherwise.")
]
BindingFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Its first line is the secret that goes with that id."),
]
RoundTrip = Annotated[
    float | None,
    quantity(
        duration, "From the server's node to this one and back, at most. Default: 15s.", "--rtt"
    ),
]


def acme(
    node_id: NodeId = None,
    server: Server = "",
    folder: IdentityPath = Path("identity"),
    update: UpdatePath = None,
    ca_file: CaFile = None,
    contact: Contacts = None,
    agree: Agree = False,
    binding_id: BindingId = "",
    binding_file: BindingFile = None,
    rtt_s: RoundTrip = None,
    authority: AuthorityMark = "",
    jurisdiction: Jurisdictions = None,
    role: Roles = None,
    algorithm: AlgorithmOption = SignatureAlgorithm.P256,
    passphrase_file: PassphraseFile = None,
    token: TokenOption = "",
    node: NodePath = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Get the certificate of a node from the ACME server of its domain, or renew it.

    The server sends the node a challenge as a bundle, which the node answers while this command
    waits: so the node has to be running (--node), to be reached by the server's node, and to have
    keys in common with it, or somebody on the way who vouches for it (docs/identity.md). Keys are
    made here where the folder has none, and never leave it. What comes is taken as
    `orbitferry domain enroll --answer` takes it.

    \b
    Examples:
      orbitferry domain acme dtn://gs1/ --server https://ca.example/directory --update update.pem
      orbitferry domain acme --server https://ca.example/directory --rtt 20m --node gs1.toml
      orbitferry domain acme dtn://gs1/ --server https://ca.example/directory --dry-run
    """
    from stack.adapters.https import HttpsClient
    from stack.core.errors import ConfigError
    from stack.engines.acme.client import AcmeClient, Patience
    from stack.identity import NodeFolder

    if rtt_s is not None and not rtt_s <= RTT_S_MAX:
        raise ConfigError("--rtt", "is too long", "12 hours at most")
    _check_server(server)
    place = NodeFolder(folder)
    wanted = _wanted(place, node_id)
    if update is None and not place.enrolled:
        remedy = "the file that `orbitferry domain export` at the authority writes"
        raise ConfigError("--update", "is missing", remedy)
    news = b"" if update is None else read_answer(update)
    secret = _binding(binding_id, binding_file)
    http = HttpsClient(ca_file)
    if dry_run:
        words = f"{wanted}: {server} would be asked for a certificate, kept in {folder}"
        answer({"dry_run": True, "node": wanted, "server": server}, as_json, words)
        return
    request = _request(place, wanted, jurisdiction, role, algorithm, passphrase_file, token)
    account = _account(place, passphrase_file, contact, agree, binding_id, secret)
    patience = Patience(total_s=WAIT_S + 2 * (15.0 if rtt_s is None else rtt_s))
    client = AcmeClient(server, account, patience)
    with ExitStack() as stack:
        driver = _Driver(http, stack, node, rtt_s, patience.total_s)
        chain = _certified(driver, client, request, server, agree)
    note("the server has given a certificate")
    take(place, _joined(news, chain), authority, yes, False, as_json)


def _check_server(server: str) -> None:
    from stack.core.errors import ConfigError, DecodeError
    from stack.engines.acme.http import check_url

    try:
        check_url(server)
    except DecodeError:
        remedy = "such as https://ca.example/directory; http to this machine alone"
        raise ConfigError("--server", "is no URL with https", remedy) from None


def _wanted(place: NodeFolder, node_id: str | None) -> str:
    """For which node: that of the folder, if that has keys."""
    from stack.core.checks import check_node_id
    from stack.core.errors import ConfigError

    if not place.begun:
        if node_id is None:
            raise ConfigError("NODE", "is missing", "such as dtn://gs1/")
        check_node_id("NODE", node_id)
        return node_id
    known = str(place.request().node)
    if node_id not in (None, known):
        words = f"is not that of {place.path}, {known}"
        raise ConfigError("NODE", words, "choose another folder (--folder)")
    return known


def _binding(key_id: str, path: Path | None) -> bytes:
    """The secret that goes with the id of an external account, base64url as authorities give it."""
    from stack.core.errors import ConfigError, DecodeError
    from stack.engines.acme.digest import from_base64url

    if bool(key_id) != (path is not None):
        raise ConfigError("--binding-id", "goes with --binding-file", "give both, or none")
    if path is None:
        return b""
    lines = read_answer(path).splitlines()
    try:
        return from_base64url(lines[0].strip().decode("ascii"))
    except (DecodeError, IndexError, UnicodeDecodeError):
        raise ConfigError(str(path), "has no secret", "base64url on its first line") from None


def _request(
    place: NodeFolder,
    node_id: str,
    jurisdictions: list[str] | None,
    roles: list[str] | None,
    algorithm: SignatureAlgorithm,
    passphrase_file: Path | None,
    token: str,
) -> NodeRequest:
    if place.begun:
        note(f"{node_id} has keys, in {place.path}")
        return place.request()
    request = begin(place, node_id, jurisdictions, roles, algorithm, passphrase_file, token)
    note(f"keys made, in {place.path}; that of {node_id} is {request.fingerprint}")
    return request


def _account(
    place: NodeFolder,
    passphrase_file: Path | None,
    contact: list[str] | None,
    agreed: bool,
    key_id: str,
    secret: bytes,
) -> Account:
    from stack.engines.acme.client import Account
    from stack.engines.acme.jws import AccountKey
    from stack.identity.disk import account_key

    key = account_key(place.path, asking(place.path, passphrase_file), os.urandom)
    return Account(
        key=AccountKey(key),
        contact=tuple(contact or ()),
        agreed=agreed,
        key_id=key_id,
        secret=secret,
    )


def _certified(
    driver: _Driver, client: AcmeClient, request: NodeRequest, server: str, agree: bool
) -> bytes:
    from stack.engines.acme.client import BUNDLE_EID, Identifier

    terms: str = driver.drive(client.terms())
    if terms and not agree:
        raise CommandError(f"the server has terms of service: {terms}", "read them, say --agree")
    note(f"asking {server} for a certificate of {request.node}")
    wanted = [Identifier(BUNDLE_EID, str(request.node))]
    chain: bytes = driver.drive(client.certify(wanted, request.octets))
    return chain


def _joined(news: bytes, chain: bytes) -> bytes:
    """An answer as by a file: of the server's words the certificates alone, and behind those of the
    authority, so that it cannot put another authority in its place."""
    from stack.identity import pem
    from stack.identity.disk import decode_blocks

    told = decode_blocks(chain, "the server's answer: ")
    found = [block for block in told if block.label == pem.CERTIFICATE]
    known = decode_blocks(news, "--update: ") if news else []
    return pem.encode([*known, *found]).encode()


class _Driver:
    """Does what the client of ACME asks for: HTTP, waiting, and telling the node what to expect."""

    def __init__(
        self, http: Any, stack: ExitStack, node: Path | None, rtt_s: float | None, total_s: float
    ) -> None:
        """What the node was told is taken back when `stack` ends."""
        self._http = http
        self._stack = stack
        self._node = node
        self._rtt_s = rtt_s
        self._total_s = total_s

    def drive(self, work: Work[Any]) -> Any:
        """What comes of it in the end."""
        from stack.engines.acme.client import Offered, Wait

        told: Any = None
        while True:
            try:
                step = work.send(told)
            except StopIteration as stop:
                return stop.value
            if isinstance(step, Wait):
                time.sleep(step.seconds)
                told = None
            elif isinstance(step, Offered):
                told = self._meet(step)
            else:
                told = self._http.fetch(step)

    def _meet(self, offered: Offered) -> dict[str, float]:
        from stack.engines.acme.client import expected_of

        expected, control = expected_of(offered), client_of(self._node)
        told = control.call(
            "expect_challenge",
            node=offered.identifier.value,
            id_chal=expected.id_chal,
            token_chal=expected.token_chal,
            thumbprint=expected.thumbprint,
            seconds=self._total_s,
        )
        self._stack.callback(control.call, "forget_challenge", id_chal=expected.id_chal)
        note(f"{told['node']} answers the server's challenge from now on; waiting for its word")
        return {} if self._rtt_s is None else {"rtt": self._rtt_s}
