"""The conversations of a capture, for people or for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from interop.inspect.follow import Conversations, Followed, SeenBundle
from stack.cli.inspect.tree import read_source, time_text
from stack.cli.output import emit, note, say, table
from stack.core.clock import SECOND
from stack.core.errors import ConfigError, DecodeError
from stack.core.units import count_text, duration_text, size_text

HEAD: Final = (
    "transfer",
    "from",
    "to",
    "began",
    "took",
    "octets",
    "bundles",
    "segments",
    "repeated",
    "lost",
    "ended",
)
BUNDLE_HEAD: Final = ("bundle", "to", "octets", "began", "took", "path")


def show_conversations(source: str, as_json: bool) -> bool:
    """Show them; whether there were any, in a capture that could be read to its end.  Raises
    `ConfigError`."""
    try:
        found = Conversations(read_source(source, "pcap"))
    except DecodeError as error:
        raise ConfigError(source[:120], str(error), "it must be pcap or pcapng") from None
    if as_json:
        for one in _objects(found):
            emit(one)
    else:
        _show(found)
    if found.fault:
        note(f"the capture ends in the middle: {found.fault}")
    return bool(found.transfers) and not found.fault


def _objects(found: Conversations) -> Iterator[dict[str, Any]]:
    for transfer in found.transfers:
        yield {"transfer": transfer.kind} | {
            key: value for key, value in asdict(transfer).items() if key != "kind"
        }
    for bundle in found.bundles.values():
        yield {"bundle": bundle.id} | {
            key: value for key, value in asdict(bundle).items() if key != "id"
        }
    if found.left_out:
        yield {"left_out": found.left_out}
    if found.passed_over:
        yield {"passed_over": dict(found.passed_over.most_common())}


def _show(found: Conversations) -> None:
    if found.transfers:
        table(HEAD, [_transfer(one) for one in found.transfers])
    if found.bundles:
        say("")
        table(BUNDLE_HEAD, [_bundle(one) for one in found.bundles.values()])
    if found.left_out:
        say(f"and {found.left_out:,} more")
    kinds = ", ".join(f"{words} ({count})" for words, count in found.passed_over.most_common(20))
    if kinds:
        say(f"{count_text(found.passed_over.total(), 'packet')} passed over: {kinds}")
    elif not found.transfers:
        say("no packets in this capture")


def _transfer(one: Followed) -> tuple[object, ...]:
    unread = f"; bundles: {one.unread}" if one.unread else ""
    return (
        f"{one.kind} {one.name}".rstrip(),
        one.source,
        one.destination,
        time_text(one.began_ns),
        duration_text((one.ended_ns - one.began_ns) / SECOND),
        size_text(one.octets),
        len(one.bundles),
        one.segments,
        one.repeated,
        one.lost,
        one.ended + unread,
    )


def _bundle(one: SeenBundle) -> tuple[object, ...]:
    paths = "; ".join(
        path if count == 1 else f"{path}, {count} times" for path, count in one.paths.items()
    )
    took_s = (one.ended_ns - one.began_ns) / SECOND
    return (
        one.id,
        one.destination,
        size_text(one.octets),
        time_text(one.began_ns),
        duration_text(took_s),
        paths,
    )
