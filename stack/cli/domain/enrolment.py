"""`orbitferry domain init`, `enroll` and `approve`: from nothing to a node with a certificate."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stack.cli.common import Json
from stack.cli.domain.files import ANSWER, check_answer, put, tell_behind, tell_older
from stack.cli.domain.secrets import (
    DryRun,
    NoPassphrase,
    PassphraseFile,
    TokenOption,
    Yes,
    asking,
    confirm,
    new_passphrase,
)
from stack.cli.output import answer, note
from stack.core.units import count_text

if TYPE_CHECKING:
    from stack.identity import AuthorityFolder, NodeFolder, NodeRequest, Trust
    from stack.identity.disk import Passphrase
    from stack.identity.folder import Accepted

HELP = "Say which nodes belong to a domain, and which other domains it trusts."


class SignatureAlgorithm(StrEnum):
    """What keys sign with."""

    P256 = "p256"
    P384 = "p384"
    ED25519 = "ed25519"
    MLDSA44 = "mldsa44"
    MLDSA65 = "mldsa65"
    MLDSA87 = "mldsa87"


AlgorithmOption = Annotated[
    SignatureAlgorithm,
    typer.Option(help="Of signatures; mldsa87 also withstands quantum computers."),
]
DomainFolder = Annotated[
    Path, typer.Option("--folder", "-f", metavar="FOLDER", help="The folder of the authority.")
]
IdentityPath = Annotated[
    Path,
    typer.Option("--folder", "-f", metavar="FOLDER", help="The folder of the node's identity."),
]
Jurisdictions = Annotated[
    list[str] | None,
    typer.Option(
        "--jurisdiction",
        "-j",
        metavar="NAME",
        help='Whose law reaches what the node holds, such as "KR"; a union beside its member. '
        "May be repeated.",
    ),
]
Roles = Annotated[
    list[str] | None,
    typer.Option("--role", "-r", metavar="NAME", help="What the node is for. May be repeated."),
]
NodeDays = Annotated[
    int, typer.Option("--days", min=1, max=3650, help="How long the certificate holds.")
]
AnswerPath = Annotated[
    Path | None,
    typer.Option(
        "--answer", "-a", metavar="FILE", help="Take the answer of the authority, or news of it."
    ),
]
AuthorityPath = Annotated[
    Path | None,
    typer.Option(
        "--domain",
        "-d",
        metavar="FOLDER",
        help="Have the authority in this folder approve at once, on the same machine.",
    ),
]
AuthorityMark = Annotated[
    str, typer.Option(metavar="FINGERPRINT", help="Of the authority, as it has told it.")
]
NamesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--names",
        metavar="PATTERN",
        help='EID pattern of the node ids that the domain gives, such as "ipn:[100-199].*" or '
        '"dtn://sat1/**"; it gives no others, and no other domain gives these. May be repeated.',
    ),
]


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the domain, such as kari.")],
    folder: DomainFolder = Path("domain"),
    names: NamesOption = None,
    algorithm: AlgorithmOption = SignatureAlgorithm.P256,
    passphrase_file: PassphraseFile = None,
    no_passphrase: NoPassphrase = False,
    token: TokenOption = "",
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Begin a domain: an agency, a company or a state whose nodes trust each other.

    Makes the key of its authority, which says which nodes belong to it. Whoever has that key and
    its passphrase is the authority: keep the folder off line, and a copy of it somewhere else.

    \b
    Examples:
      orbitferry domain init kari
      orbitferry domain init kari --names "ipn:[100-199].*"
      orbitferry domain init kari --folder /media/vault/kari --algorithm mldsa87
      orbitferry domain init laboratory --no-passphrase
    """
    from stack.adapters.clock import SystemClock
    from stack.identity import AuthorityFolder
    from stack.identity.authority import check_domain
    from stack.identity.certificate import fingerprint
    from stack.identity.names import name_space

    check_domain(name)
    space = name_space("--names", names or ())
    authority = AuthorityFolder(folder)
    authority.check_new()
    if dry_run:
        answer({"dry_run": True, "folder": str(folder)}, as_json, f"{folder}: would be made")
        return
    made = authority.create(
        name,
        passphrase=new_passphrase(passphrase_file, no_passphrase, token=token),
        entropy=os.urandom,
        now_ms=SystemClock().dtn_ms(),
        algorithm=algorithm.value,
        token=token,
        names=space,
    )
    mark = fingerprint(made.certificate)
    answer(
        {"domain": name, "folder": str(folder), "fingerprint": mark},
        as_json,
        f"domain {name} begins, in {folder}; its authority is {mark}\n"
        "next, at each node: orbitferry domain enroll dtn://NAME/ --jurisdiction LAW",
    )


def enroll(
    node: Annotated[
        str | None, typer.Argument(metavar="NODE", help="Node id, such as dtn://sat1/.")
    ] = None,
    folder: IdentityPath = Path("identity"),
    taken: AnswerPath = None,
    domain: AuthorityPath = None,
    authority: AuthorityMark = "",
    jurisdiction: Jurisdictions = None,
    role: Roles = None,
    algorithm: AlgorithmOption = SignatureAlgorithm.P256,
    days: NodeDays = 90,
    passphrase_file: PassphraseFile = None,
    token: TokenOption = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Take a node into a domain.

    On the node it makes keys, which never leave it, and a request to carry to the authority, on a
    stick or as a bundle. With --answer it takes what came back; from then on the node has an
    identity: [identity] folder = "..." in its configuration. With --domain both happen at once.

    A node starts by itself, so its keys have no passphrase unless --passphrase-file, or
    ORBITFERRY_PASSPHRASE, gives one; then the node needs it, too. With --token that file, or
    ORBITFERRY_PIN, has its PIN. The authority of --domain takes ORBITFERRY_PASSPHRASE as well.

    \b
    Examples:
      orbitferry domain enroll dtn://sat1/ --jurisdiction KR --role compute
      orbitferry domain enroll --answer answer.pem
      orbitferry domain enroll dtn://gs1/ --folder gs1-identity --domain domain
    """
    from stack.core.checks import check_node_id
    from stack.core.errors import ConfigError
    from stack.identity import AuthorityFolder, NodeFolder

    place = NodeFolder(folder)
    if taken is not None:
        take(place, read_answer(taken), authority, yes, dry_run, as_json)
        return
    if node is None:
        raise ConfigError("NODE", "is missing", "such as dtn://sat1/, or --answer FILE")
    check_node_id("NODE", node)
    place.check_new()
    if domain is not None:
        AuthorityFolder(domain).trust()
    if dry_run:
        answer({"dry_run": True, "folder": str(folder)}, as_json, f"{folder}: would be made")
        return
    secret = asking(domain or folder, None)
    if domain is not None:
        AuthorityFolder(domain).unlock(secret)  # before there are keys for nothing
    request = begin(place, node, jurisdiction, role, algorithm, passphrase_file, token)
    if domain is None:
        _tell_request(place, request, as_json)
        return
    octets = _approved_here(domain, secret, request, jurisdiction, role, days)
    take(place, octets, authority, True, False, as_json)


def begin(
    place: NodeFolder,
    node: str,
    jurisdictions: list[str] | None,
    roles: list[str] | None,
    algorithm: SignatureAlgorithm,
    passphrase_file: Path | None,
    token: str,
) -> NodeRequest:
    """Make the keys of a node, and what it asks of an authority."""
    from stack.core.eid import Eid

    return place.begin(
        Eid.parse(node),
        jurisdictions=jurisdictions or (),
        roles=roles or (),
        passphrase=new_passphrase(passphrase_file, False, token=token, optional=True),
        entropy=os.urandom,
        algorithm=algorithm.value,
        token=token,
    )


def _approved_here(
    domain: Path,
    secret: Passphrase,
    request: NodeRequest,
    jurisdictions: list[str] | None,
    roles: list[str] | None,
    days: int,
) -> bytes:
    from stack.adapters.clock import SystemClock
    from stack.identity import AuthorityFolder
    from stack.security.first_epoch import approve_request

    octets, _ = approve_request(
        AuthorityFolder(domain),
        secret,
        request,
        jurisdictions=jurisdictions or (),
        roles=roles or (),
        now_ms=SystemClock().dtn_ms(),
        entropy=os.urandom,
        days=days,
    )
    return octets


def _tell_request(place: NodeFolder, request: NodeRequest, as_json: bool) -> None:
    path = place.request_path
    answer(
        {
            "node": str(request.node),
            "folder": str(place.path),
            "request": str(path),
            "key": request.fingerprint,
        },
        as_json,
        f"{request.node}: keys made, in {place.path}; its key is {request.fingerprint}\n"
        f"next: carry {path} to the authority; there: orbitferry domain approve request.pem",
    )


def approve(
    request: Annotated[
        str, typer.Argument(metavar="REQUEST", help="The file of a node, or the id of one we have.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The answer for the node.")
    ] = Path(ANSWER),
    folder: DomainFolder = Path("domain"),
    jurisdiction: Jurisdictions = None,
    role: Roles = None,
    days: NodeDays = 90,
    passphrase_file: PassphraseFile = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Approve the request of a node: give it a certificate, and the keys of the domain.

    What a request says is only what the node says of itself: compare its key with what the operator
    of the node reads to you. --jurisdiction and --role put other facts in place of those asked for.
    With a node id in place of a file a certificate is renewed, for the same key.

    \b
    Examples:
      orbitferry domain approve request.pem
      orbitferry domain approve request.pem --jurisdiction KR --days 30 --out sat1.pem
      orbitferry domain approve dtn://sat1/
    """
    from stack.adapters.clock import SystemClock
    from stack.identity import AuthorityFolder
    from stack.security.first_epoch import approve_request

    authority = AuthorityFolder(folder)
    asked = _asked(authority, request)
    laws, roles = jurisdiction or sorted(asked.jurisdictions), role or sorted(asked.roles)
    what = f"{asked.node}, under {', '.join(laws) or 'no jurisdiction'}"
    what += f", as {', '.join(roles)}" if roles else ""
    note(f"{what}; its key is {asked.fingerprint}")
    _check_request(authority.trust(), asked, laws, roles, out, Path(request).parent)
    check_answer(out, asked.node)
    if dry_run:
        answer({"dry_run": True, "node": str(asked.node)}, as_json, "would be approved")
        return
    confirm("Is that the key of this node, and is it so?", yes)
    octets, node = approve_request(
        authority,
        asking(folder, passphrase_file),
        asked,
        jurisdictions=laws,
        roles=roles,
        now_ms=SystemClock().dtn_ms(),
        entropy=os.urandom,
        days=days,
    )
    again = f"the certificate is given: `orbitferry domain approve {asked.node} --out FILE` "
    done = again + "writes another answer"
    put(out, lambda: octets, done, lambda: check_answer(out, asked.node))
    until = node.certificate.not_valid_after_utc
    answer(
        {
            "node": str(node.facts.id),
            "domain": node.facts.domain,
            "answer": str(out),
            "certificate": node.fingerprint,
            "until": f"{until:%Y-%m-%dT%H:%M:%SZ}",
        },
        as_json,
        f"{node.facts.id} belongs to domain {node.facts.domain} until {until:%Y-%m-%d}\n"
        f"next: carry {out} to the node; there: orbitferry domain enroll --answer {out.name}",
    )


def _check_request(
    trust: Trust, asked: NodeRequest, laws: list[str], roles: list[str], out: Path, beside: Path
) -> None:
    """See to it that a request can be approved; and that who approves it knows whose place it
    takes, and whether files at hand are newer than what is known."""
    from stack.adapters.clock import SystemClock
    from stack.identity.certificate import key_fingerprint, read_node
    from stack.identity.naming import check_clock, check_may_give
    from stack.policy.directory import check_names

    now_ms = SystemClock().dtn_ms()
    check_names("", laws, roles)
    check_clock(trust, now_ms)
    check_may_give(trust, asked.node, now_ms)
    tell_older(trust, out, out.parent, beside)
    known = trust.certificate_of(asked.node)
    if known is not None and (key := read_node(known).public_key) != asked.public_key:
        note(f"{asked.node} has a certificate for another key so far, {key_fingerprint(key)}")


def _asked(authority: AuthorityFolder, request: str) -> NodeRequest:
    """A request from its file, or what a node that is certified would ask anew."""
    from stack.core.errors import ConfigError
    from stack.identity import pem
    from stack.identity.certificate import read_request, renewal
    from stack.identity.disk import read_blocks

    if request.startswith(("dtn:", "ipn:")):
        for node in authority.trust().nodes():
            if str(node.facts.id) == request and node.facts.domain == authority.trust().domain:
                return renewal(node)
        raise ConfigError(request, "is no node of this domain", "see `orbitferry domain list`")
    blocks = read_blocks(Path(request), "the file that `orbitferry domain enroll` makes")
    found = [block.octets for block in blocks if block.label == pem.REQUEST]
    if len(found) != 1:
        raise ConfigError(request, "not one request", "is it the right file?")
    return read_request(found[0])


def take(
    place: NodeFolder, octets: bytes, root: str, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Take the answer of an authority, whom a node believes from then on if it is its first; `root`
    is what the fingerprint of that authority begins with, where it is known."""
    from stack.adapters.clock import SystemClock
    from stack.identity.certificate import fingerprint
    from stack.identity.disk import decode_blocks

    now_ms = SystemClock().dtn_ms()
    whom = place.authority_in(octets)
    new = not place.enrolled
    if new and not root:
        note(f"the authority that this answer is from is {fingerprint(whom)}")
    if dry_run:
        _tell_refusals(place.accept(octets, now_ms, root=root, dry_run=True))
        answer({"dry_run": True, "authority": fingerprint(whom)}, as_json, "would be taken")
        return
    if new and not root:
        place.accept(octets, now_ms, dry_run=True)  # nobody is asked about what is not taken
        confirm("Is that the authority which this node shall believe from now on?", yes)
    accepted = place.accept(octets, now_ms, root=root)
    _tell_refusals(accepted)
    tell_behind(place.trust(), decode_blocks(octets))
    facts, until = accepted.node.facts, accepted.node.certificate.not_valid_after_utc
    known = len(place.trust().principals(now_ms))
    answer(
        {
            "node": str(facts.id),
            "domain": facts.domain,
            "jurisdictions": sorted(facts.jurisdictions),
            "roles": sorted(facts.roles),
            "until": f"{until:%Y-%m-%dT%H:%M:%SZ}",
            "known": known,
            "refused": accepted.refusals,
        },
        as_json,
        f"{facts.id} belongs to domain {facts.domain} until {until:%Y-%m-%d}, and knows "
        f"{count_text(known, 'node')}\n"
        f'its configuration: [identity] folder = "{place.path}"',
    )


def _tell_refusals(accepted: Accepted) -> None:
    for why in accepted.refusals:
        note(f"not believed: {why}")


def read_answer(path: Path) -> bytes:
    """A file that an authority has written, or an operator.  Raises `ConfigError`."""
    from stack.core.errors import ConfigError
    from stack.identity.pem import FILE_BYTES_MAX

    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error), "check the path") from None
