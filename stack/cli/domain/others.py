"""`orbitferry domain` after enrolment: who is trusted still, and which other domains are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stack.cli.common import Json
from stack.cli.domain.enrolment import DomainFolder, NamesOption
from stack.cli.domain.files import UPDATE, check_out, put, tell_older
from stack.cli.domain.secrets import DryRun, PassphraseFile, Yes, asking, confirm
from stack.cli.output import answer, emit, note, say, table
from stack.core.units import count_text

if TYPE_CHECKING:
    from stack.identity import AuthorityFolder, Terms, Trust
    from stack.identity.recovery import Shown

Purposes = Annotated[
    list[str] | None,
    typer.Option(
        "--for",
        metavar="PURPOSE",
        help="read (have data in clear), rest (hold it), pass (pass it on); who reads or passes on "
        "holds, too. May be repeated.",
    ),
]
Laws = Annotated[
    list[str] | None,
    typer.Option(
        "--jurisdiction",
        "-j",
        metavar="NAME",
        help="Under whose law the other domain may say that its nodes are. May be repeated.",
    ),
]
OthersNames = Annotated[
    list[str] | None,
    typer.Option(
        "--names",
        metavar="PATTERN",
        help="EID pattern of the node ids that the other domain may give. May be repeated.",
    ),
]
NEW_KEYS = ", and give the others new keys: what this node had, it still has"

Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where it is written.")]


def revoke(
    subject: Annotated[
        str, typer.Argument(metavar="NODE|DOMAIN", help="A node id, or the name of a domain.")
    ],
    folder: DomainFolder = Path("domain"),
    out: Out = Path(UPDATE),
    passphrase_file: PassphraseFile = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Trust a node of this domain, or another domain, no more.

    It cannot be undone; a node can be approved anew. Other nodes know it once they have the update,
    and at the latest when the revocation list that they have is too old.

    \b
    Examples:
      orbitferry domain revoke dtn://sat1/
      orbitferry domain revoke esa --yes
    """
    from stack.adapters.clock import SystemClock
    from stack.identity import AuthorityFolder

    authority = AuthorityFolder(folder)
    now_ms = SystemClock().dtn_ms()
    trust = authority.trust()
    federated = subject in trust.federations
    tell_older(trust, out, out.parent)
    revocable = authority.revocable(subject, now_ms)
    count = len(revocable.serials)
    for why in revocable.unread:
        note(why)
    if dry_run:
        answer(
            {"dry_run": True, "certificates": count, "unread": revocable.unread},
            as_json,
            f"{count} would be revoked",
        )
        return
    check_out(out)
    confirm(f"Revoke {count_text(count, 'certificate')} of {subject}, for good?", yes)
    authority.revoke(authority.unlock(asking(folder, passphrase_file)), subject, now_ms)
    _export(authority, out)
    answer(
        {
            "revoked": subject,
            "certificates": count,
            "unread": revocable.unread,
            "update": str(out),
        },
        as_json,
        f"{subject}: revoked\nnext: carry {out} to every node (orbitferry domain enroll --answer "
        f"{out.name})" + ("" if federated else NEW_KEYS),
    )


def offer(
    to: Annotated[str, typer.Argument(metavar="DOMAIN", help="Which may trust this one.")],
    purpose: Purposes = None,
    jurisdiction: Laws = None,
    folder: DomainFolder = Path("domain"),
    out: Out = Path("offer.pem"),
    passphrase_file: PassphraseFile = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Offer another domain to be trusted by it, for named purposes.

    The offer is signed by this domain, and has its revocation list, its name space if it has said
    one, and the certificates of its nodes. The other domain takes it with `orbitferry domain
    federate`.

    \b
    Examples:
      orbitferry domain offer kari --for pass --jurisdiction SE --jurisdiction EU
    """
    from stack.adapters.clock import SystemClock
    from stack.identity import AuthorityFolder, Terms, pem
    from stack.identity.authority import described

    authority = AuthorityFolder(folder)
    terms = Terms(to, frozenset(purpose or ()), frozenset(jurisdiction or ()))
    terms = replace(terms, names=authority.trust().names.own)
    check_out(out)
    if dry_run:
        answer({"dry_run": True}, as_json, f"would be offered to {to}: {described(terms)}")
        return
    key = authority.unlock(asking(folder, passphrase_file))
    authority.update(key, (), SystemClock().dtn_ms())
    blocks = [pem.PemBlock(pem.REQUEST, key.offer(terms)), *authority.export(own=True)]
    octets = pem.encode(blocks, f"Domain {key.domain} offers this to domain {to}.").encode()
    put(out, lambda: octets, "nothing was offered: choose another file (--out)")
    answer(
        {"to": to, "purposes": sorted(terms.purposes), "offer": str(out)},
        as_json,
        f"domain {key.domain} offers domain {to}: {described(terms)}\n"
        f"next: carry {out} to its authority; there: orbitferry domain federate {out.name}",
    )


def federate(
    path: Annotated[
        Path, typer.Argument(metavar="OFFER", help="From the other domain; with news of it, too.")
    ],
    purpose: Purposes = None,
    jurisdiction: Laws = None,
    names: OthersNames = None,
    folder: DomainFolder = Path("domain"),
    days: Annotated[
        int, typer.Option("--days", min=1, max=3650, help="How long it is trusted.")
    ] = 365,
    out: Out = Path(UPDATE),
    passphrase_file: PassphraseFile = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Trust another domain, for what it offers or for less.

    --for, --jurisdiction and --names leave less of the offer. Where the offer says no name space,
    --names gives one; without any, the other domain may give each id that no other one has.

    Trust goes one way: the other domain trusts this one when it takes an offer from here.
    `orbitferry domain revoke` ends it.

    \b
    Examples:
      orbitferry domain federate offer.pem
      orbitferry domain federate offer.pem --names "ipn:[200-299].*"
      orbitferry domain federate offer.pem --for rest --days 30 --yes
    """
    from stack.adapters.clock import SystemClock
    from stack.identity import AuthorityFolder
    from stack.identity.authority import described
    from stack.identity.certificate import key_fingerprint
    from stack.identity.disk import read_blocks
    from stack.identity.naming import check_offer, only_offer

    authority = AuthorityFolder(folder)
    blocks = read_blocks(path, "the file that `orbitferry domain offer` makes")
    domain, key, offered = only_offer(blocks)
    terms = _narrowed(offered, purpose, jurisdiction, names)
    note(f"domain {domain}, whose key is {key_fingerprint(key)}: {described(terms)}")
    trust, now_ms = authority.trust(), SystemClock().dtn_ms()
    check_offer(trust, domain, offered, terms, now_ms)
    tell_older(trust, out, out.parent, path)
    if (known := trust.federations.get(domain)) is not None and known.key != key:
        note(f"domain {domain} is trusted by another key so far, {key_fingerprint(known.key)}")
    check_out(out)
    if dry_run:
        answer({"dry_run": True, "domain": domain}, as_json, "would be trusted")
        return
    confirm("Is that the key of this domain, and is it to be trusted for that?", yes)
    refusals = authority.federate(
        authority.unlock(asking(folder, passphrase_file)),
        blocks,
        terms,
        now_ms,
        days,
    )
    for why in refusals:
        note(f"not believed: {why}")
    _export(authority, out)
    answer(
        {"domain": domain, **_agreed(terms), "refused": refusals, "update": str(out)},
        as_json,
        f"domain {domain} is trusted: {described(terms)}\nnext: carry {out} to every node "
        f"(orbitferry domain enroll --answer {out.name})",
    )


def _agreed(terms: Terms) -> dict[str, Any]:
    return {
        "purposes": sorted(terms.purposes),
        "jurisdictions": sorted(terms.jurisdictions),
        "names": terms.names.texts,
    }


def _narrowed(
    offered: Terms,
    purposes: list[str] | None,
    laws: list[str] | None,
    names: list[str] | None,
) -> Terms:
    from stack.identity import Terms
    from stack.identity.names import name_space

    return Terms(
        offered.to,
        frozenset(purposes) if purposes else offered.purposes,
        frozenset(laws) if laws else offered.jurisdictions,
        name_space("--names", names) if names else offered.names,
    )


def list_(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Of an authority, or of a node's identity.")
    ] = Path("domain"),
    as_json: Json = False,
) -> None:
    """List the nodes and the domains that are known, and which of them are trusted now; and where
    the folder's own private keys are.

    A key for signatures may be in a token. The key by which a node opens what is sealed to it (HPKE
    with X25519, or with ML-KEM beside it) never is.

    \b
    Examples:
      orbitferry domain list
      orbitferry domain list /var/lib/orbitferry/identity --json
    """
    from stack.adapters.clock import SystemClock
    from stack.core.clock import dtn_to_iso
    from stack.identity import NodeFolder
    from stack.identity.authority import REVOCATIONS_MAX, described
    from stack.identity.disk import where_keys_are
    from stack.identity.folder import ISSUED
    from stack.identity.recovery import list_number

    now_ms = SystemClock().dtn_ms()
    keys = where_keys_are(folder)
    trust = NodeFolder(folder).trust()  # the file of an authority is the same
    if (folder / ISSUED).is_dir():
        tell_older(trust, folder.parent, Path())
    rows = [_row(trust, node, now_ms) for node in trust.nodes()]
    until = trust.lists.until_ms(trust.domain)
    if as_json:
        emit(
            {
                "domain": trust.domain,
                "names": trust.names.own.texts,
                "revocations_number": list_number(trust),
                "revoked": trust.lists.count(trust.domain),
                "revocations_until": dtn_to_iso(until) if until else None,
                "federations": {
                    name: {**_agreed(one.terms), "why_not": _why_not(trust, name, now_ms)}
                    for name, one in sorted(trust.federations.items())
                },
                "keys": keys,
                "nodes": rows,
            }
        )
        return
    say(
        f"domain {trust.domain}; its revocation list {list_number(trust)} is believed until "
        f"{dtn_to_iso(until)[:16]}Z; {trust.lists.count(trust.domain)} revoked, of at most "
        f"{REVOCATIONS_MAX}"
    )
    say(f"ids of its nodes: {trust.names.own or 'any that no other domain has (no name space)'}")
    told = [f"for {what} in {place}" for what, place in keys.items()]
    say(f"private keys here: {', '.join(told) or 'none'}")
    for name, one in sorted(trust.federations.items()):
        why = _why_not(trust, name, now_ms)
        say(f"trusts domain {name}: {described(one.terms)}" + (f"; not now: {why}" if why else ""))
    table(
        ("node", "known as", "until", "trusted"),
        [
            (row["node"], row["known_as"], row["until"][:10], row["why_not"] or "yes")
            for row in rows
        ],
    )


def _why_not(trust: Trust, domain: str, now_ms: int) -> str:
    from stack.core.errors import SecurityError

    try:
        trust.check_trusted(domain, now_ms)
    except SecurityError as error:
        return str(error)
    return ""


def _row(trust: Trust, node: Any, now_ms: int) -> dict[str, Any]:
    from stack.policy.gate import known_as

    return {
        "node": str(node.facts.id),
        "known_as": known_as(node.facts),
        "until": f"{node.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "certificate": node.fingerprint,
        "why_not": trust.why_not(node, now_ms),
    }


def export(
    names: NamesOption = None,
    folder: DomainFolder = Path("domain"),
    out: Out = Path(UPDATE),
    clock_is_right: Annotated[
        bool,
        typer.Option(
            "--clock-is-right",
            help="This machine's clock is right, though the last list is of a time to come, or of "
            "more than a year ago.",
        ),
    ] = False,
    recover: Annotated[
        Path | None,
        typer.Option(
            "--recover",
            metavar="FILE",
            help="After the folder came from a backup: take in what this authority has signed "
            "since, from the trust.pem of a node or the newest answer or update.",
        ),
    ] = None,
    passphrase_file: PassphraseFile = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Write what nodes need to know of this domain, with a new revocation list.

    Nothing in it is secret. Do it often enough that no node's revocation list becomes too old. With
    --names the domain has this name space from now on; what other domains were offered stays.

    Nodes pass over a revocation list with a lower number than that of theirs. An authority from a
    backup counts on after the newest list with --recover, and revokes again what that revokes.

    \b
    Examples:
      orbitferry domain export
      orbitferry domain export --names "ipn:[100-199].*" --names "dtn://gs1/**"
      orbitferry domain export --out /media/stick/kari.pem
      orbitferry domain export --recover gs1/identity/trust.pem --dry-run
    """
    from stack.adapters.clock import SystemClock
    from stack.identity import AuthorityFolder
    from stack.identity.names import name_space
    from stack.identity.naming import check_apart

    authority = AuthorityFolder(folder)
    space = name_space("--names", names) if names else None
    now_ms, trust = SystemClock().dtn_ms(), authority.trust()
    shown = None if recover is None else _shown(trust, recover)
    if space is not None:
        check_apart(trust, space, trust.domain, now_ms)
    check_out(out)
    if dry_run:
        answer({"dry_run": True, "update": str(out)}, as_json, f"{out}: would be written")
        return
    key = authority.unlock(asking(folder, passphrase_file))
    if shown is not None:
        authority.recover(key, shown, now_ms, clock_is_right=clock_is_right)
    if shown is None or space is not None:
        authority.update(key, (), now_ms, space, clock_is_right=clock_is_right)
    _export(authority, out)
    nodes = len(authority.trust().principals(now_ms))
    answer(
        {"update": str(out), "nodes": nodes},
        as_json,
        f"{out}: {count_text(nodes, 'node')}, and a new revocation list\n"
        f"next, at each node: orbitferry domain enroll --answer {out.name}",
    )


def _shown(trust: Trust, path: Path) -> Shown:
    """What a file shows that the authority has signed; and in words what of it is news."""
    from stack.core.errors import SecurityError
    from stack.identity.disk import read_blocks
    from stack.identity.recovery import Shown, list_number

    blocks = read_blocks(path, "the trust.pem of a node, or an answer or update")
    try:
        shown = Shown(trust.root, blocks)
    except SecurityError as error:
        raise SecurityError(f"{path}: {error}") from None
    revoked, certificates = shown.unknown(trust)
    number = max(shown.number, list_number(trust)) + 1
    note(
        f"{path} has revocation list {shown.number}, and this folder list {list_number(trust)}; "
        f"news to it: {count_text(revoked, 'revocation')} and "
        f"{count_text(certificates, 'certificate')} of nodes. The next list is {number} at least"
    )
    return shown


def destroy(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Of an authority, or of a node's identity.")
    ],
    passphrase_file: PassphraseFile = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Destroy the private keys in a folder, and in the token that it names, which asks for its PIN.

    A node then has no identity, and cannot open what is sealed to it; a domain has no authority any
    more, and can neither approve nor revoke. Copies elsewhere are not touched; flash memory and
    copy-on-write file systems may keep what was overwritten.

    \b
    Examples:
      orbitferry domain destroy identity
      orbitferry domain destroy old-domain --yes
    """
    from stack.identity.disk import destroy as destroy_keys
    from stack.identity.disk import secret_files

    found = [str(path) for path in secret_files(folder)]
    if dry_run:
        answer({"dry_run": True, "files": found}, as_json, f"would be destroyed: {' '.join(found)}")
        return
    confirm(f"Destroy {' '.join(found)}, for good?", yes)
    destroy_keys(folder, asking(folder, passphrase_file))
    answer({"destroyed": found}, as_json, f"destroyed: {' '.join(found)}")


def _export(authority: AuthorityFolder, out: Path) -> None:
    from stack.identity import pem

    def update() -> bytes:
        words = f"What domain {authority.trust().domain} says; not secret."
        return pem.encode(authority.export(), words).encode()

    put(out, update, "all else is done: `orbitferry domain export --out FILE` writes it anew")
