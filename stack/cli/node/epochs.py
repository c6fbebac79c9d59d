"""`orbitferry keys` of a running node: the epochs of its domain, and its key file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from stack.cli.common import USAGE, CommandError, Json, NodePath, client_of, duration, quantity
from stack.cli.domain.secrets import DryRun, Yes, confirm
from stack.cli.output import answer, emit, say, say_wrapped, table
from stack.core.units import count_text

FOR_EVER = "for ever"


def status(node: NodePath = None, as_json: Json = False) -> None:
    """Say what encrypts at a running node, until when, and what it waits for.

    \b
    Examples:
      orbitferry keys status
      orbitferry keys status --node /var/lib/orbitferry --json
    """
    found = client_of(node).call("keys")
    if as_json:
        emit(found)
        return
    role = "makes the epochs of" if found["is_authority"] else "gets its epochs for"
    source = "" if found["is_authority"] else f" from {found['authority']}"
    say(f"this node {role} domain {found['domain']}{source}")
    sending = [epoch for epoch in found["epochs"] if epoch["sends"]]
    for epoch in sending:
        say(f"epoch {epoch['number']} encrypts; the next one by {epoch['renew'] or FOR_EVER}")
    if not sending:
        say("no epoch sends: nothing can be encrypted until one comes; is its authority reached?")
    if found["why_not"]:
        say_wrapped(found["why_not"])
    if found["destroyed_up_to"]:
        say(f"destroyed: all epochs up to {found['destroyed_up_to']}")
    for one in found["nodes"]:
        if one["has_destroyed"]:
            say_wrapped(
                f"{one['node']} has {_numbers(one['has_destroyed'])} still, by what it said last"
                f" ({one['heard']}): it destroys them when it is reached"
            )
        elif one["lacks"]:
            say(f"{one['node']} has not acknowledged {_numbers(one['lacks'])}")
    for key in found["encrypting"]:
        if key["encryptions"]:
            share = key["encryptions"] / key["encryptions_max"]
            say(f"{key['id']} has encrypted {key['encryptions']} times, {share:.1%} of its limit")


def reload(node: NodePath = None, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Have a running node read its key file anew, with the certificates and lists that it names.

    What is wrong with them is said, and the node goes on with the keys that it has. To change a
    secret without a gap, first put the new key behind the old one at every node, then before it,
    and take the old one out when nothing that it has encrypted is under way any more.

    
    Examples:
      orbitferry keys reload --dry-run
      orbitferry keys reload --node gs1.toml
    """
    told = client_of(node).call("reload_keys", dry_run=dry_run)
    if as_json:
        emit(told)
        return
    kinds, passes = ("new", "gone", "changed"), "would pass" if dry_run else "passes"
    news = [f"{kind}: {', '.join(told[kind])}" for kind in kinds if told[kind]]
    if told["reordered"]:
        news.append("in another order")
    news += [
        f"no ltp key for {peer} is left: nothing {passes} on its link" for peer in told["shut"]
    ]
    begin = "the node would have" if dry_run else "the node has"
    say_wrapped(
        f"{begin} {count_text(len(told['keys']), 'key')}, {'; '.join(news) or 'the same as before'}"
    )


def list_(node: NodePath = None, as_json: Json = False) -> None:
    """List the epochs in force at a running node, and at the authority who has not got them.

    \b
    Examples:
      orbitferry keys list
      orbitferry keys list --node gs1.toml --json
    """
    found = client_of(node).call("keys")
    if as_json:
        emit(*found["epochs"])
        return
    if not found["epochs"]:
        say(f"no epoch of domain {found['domain']} is here; {found['authority']} gives them")
        return
    rows = [
        (
            str(epoch["number"]),
            epoch["from"],
            epoch["renew"] or FOR_EVER,
            epoch["until"] or FOR_EVER,
            "yes" if epoch["sends"] else "",
            " ".join(epoch["lacking"]),
        )
        for epoch in found["epochs"]
    ]
    table(("epoch", "from", "sends until", "accepted until", "sends", "not yet at"), rows)


def rotate(
    overlap_s: Annotated[
        float | None,
        quantity(
            duration,
            "The epochs before are accepted for so long. Default: as the node file says.",
            "--overlap",
        ),
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    node: NodePath = None,
    as_json: Json = False,
) -> None:
    """Begin a new epoch now, at the authority's node: new keys for every node.

    A node encrypts under it as soon as it is reached, and opens what is under it from then on. The
    epochs before it are accepted for --overlap, and then erased by every node: what is still on its
    way then cannot be opened any more. Rotation by time needs no command.

    \b
    Examples:
      orbitferry keys rotate --dry-run
      orbitferry keys rotate --overlap 2d --yes
    """
    client = client_of(node)
    plan = client.call("rotate_keys", overlap_s=overlap_s, dry_run=True)
    ends = "; ".join(f"{one} until {at or FOR_EVER}" for one, at in plan["ends"].items())
    if dry_run:
        answer(plan, as_json, f"{plan['nodes']} nodes would get a new epoch; accepted: {ends}")
        return
    confirm(f"Begin a new epoch of domain {plan['domain']}? Accepted: {ends or 'none before'}", yes)
    made = client.call("rotate_keys", overlap_s=overlap_s)
    number = made["epoch"]["number"]
    answer(
        made,
        as_json,
        f"epoch {number} encrypts from now on, and goes to {made['nodes']} nodes\n"
        f"next: `orbitferry keys list` shows who has not got it",
    )


def destroy(
    epoch: Annotated[
        int, typer.Argument(metavar="EPOCH", min=1, help="Its number; those before go with it.")
    ],
    yes: Yes = False,
    dry_run: DryRun = False,
    node: NodePath = None,
    as_json: Json = False,
) -> None:
    """Destroy the keys of an epoch, and of those before it: nobody opens what is under them again.

    At the authority's node this is for the whole domain: each node destroys them when it is
    reached, and writes that into its log (`orbitferry audit story key:DOMAIN-epoch-N`). At another
    node it is for that node alone. Bundles under them that are still on their way are lost. Backups
    of disks and what readers have opened are not reached.

    \b
    Examples:
      orbitferry keys destroy 7 --dry-run
      orbitferry keys destroy 7
      orbitferry keys destroy 7 --yes --json
    """
    client = client_of(node)
    plan = client.call("destroy_keys", epoch=epoch, dry_run=True)
    where = f"everywhere in domain {plan['domain']}" if plan["everywhere"] else "at this node alone"
    what = f"{_numbers(plan['epochs'])}, {where}"
    after = _after(plan)
    if dry_run:
        answer(plan, as_json, f"would be destroyed: {what}; {after}")
        return
    confirm(f"Destroy {what}, for good? What is under them cannot be opened again; {after}.", yes)
    done = client.call("destroy_keys", epoch=epoch)
    still = f"still at {' '.join(done['still_at'])}, until they are reached" * bool(
        done["still_at"]
    )
    answer(
        done,
        as_json,
        f"destroyed here at {done['at']}: {_numbers(done['destroyed'])}\n"
        + (f"{still}\n" if still else "")
        + "next: `orbitferry keys status` shows who has them still; `orbitferry audit export` what "
        "each node has written down of it",
    )


Force = Annotated[bool, typer.Option("--force", help="Put it in place of a file that is there.")]


def export(
    to: Annotated[str, typer.Argument(metavar="NODE", help="The node that they are for.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where they go.")] = Path(
        "epochs.pem"
    ),
    force: Force = False,
    node: NodePath = None,
    as_json: Json = False,
) -> None:
    """Write the epochs in force into a file for one node, at the authority's node.

    For a node that no link reaches. They are sealed for the key of its certificate, and signed by
    the authority: the file may travel on any way, and is of use to that node alone; but who keeps a
    copy, and takes that key later, opens what was under them. So destroy it when it has been taken.

    
    Examples:
      orbitferry keys export dtn://sat1/
      orbitferry keys export dtn://gs2/ --out /media/stick/gs2.pem --json
    """
    from stack.core.private import new_file, write_file
    from stack.identity import pem

    there = CommandError(f"{out}: is there already", "choose another --out, or say --force", USAGE)
    if os.path.lexists(out) and not force:
        raise there
    found = client_of(node).call("export_keys", node=to)
    blocks = [pem.PemBlock(pem.GRANT, bytes.fromhex(one)) for one in found["grants"]]
    words = f"Epochs of domain {found['domain']}, for {found['node']} alone."
    try:
        (write_file if force else new_file)(out, pem.encode(blocks, words).encode())
    except FileExistsError:  # by another command, meanwhile
        raise there from None
    answer(
        {"node": found["node"], "epochs": found["epochs"], "file": str(out)},
        as_json,
        f"{out}: {_numbers(found['epochs'])} of domain {found['domain']} for {found['node']}\n"
        f"next: carry it there; there: orbitferry keys import {out.name}",
    )


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `keys export` has written.")],
    yes: Yes = False,
    dry_run: DryRun = False,
    node: NodePath = None,
    as_json: Json = False,
) -> None:
    """Take the epochs in a file that the authority has made for this node.

    All of them, or none if one is not signed by the authority, or sealed for another node. What it
    says is destroyed goes from here, for good: it asks first, if that is anything.

    
    Examples:
      orbitferry keys import epochs.pem --dry-run
      orbitferry keys import /media/stick/gs2.pem
    """
    from stack.identity import pem
    from stack.identity.disk import read_blocks

    blocks = read_blocks(file, "make it with `orbitferry keys export` at the authority's node")
    grants = [block.octets.hex() for block in blocks if block.label == pem.GRANT]
    if not grants:
        why = f"there are no epochs in it, but: {blocks[0].label.lower()}"
        raise CommandError(f"{file}: {why}", "make it with `orbitferry keys export`", USAGE)
    client = client_of(node)
    found = client.call("import_keys", grants=grants, dry_run=True)
    if not dry_run:
        if found["destroys"]:
            what = f"{_numbers(found['destroys'])} of domain {found['domain']}"
            confirm(f"Destroy {what} here, for good? The file says so.", yes)
        found = client.call("import_keys", grants=grants)
    new = _numbers(found["new"]) if found["new"] else "nothing"
    would = "would be " * dry_run
    gone = f"; {_numbers(found['destroys'])} {would}destroyed" if found["destroys"] else ""
    done = f"{would}new here"
    answer(found, as_json, f"{new} of domain {found['domain']} {done}{gone}")


def _after(plan: dict[str, Any]) -> str:
    if not plan["next_at_once"]:
        return "a later epoch stays"
    if plan["everywhere"]:
        return "a new epoch begins at once"
    return f"nothing is encrypted or opened here until {plan['authority']} gives another"


def _numbers(numbers: list[int]) -> str:
    return ("epoch " if len(numbers) == 1 else "epochs ") + ", ".join(map(str, numbers))
