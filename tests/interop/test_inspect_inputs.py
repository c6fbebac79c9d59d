"""What `orbitferry inspect` reads and how it shows it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from interop.inspect import Tree, dissect
from interop.pcap import (
    LINKTYPE_ETHERNET,
    LINKTYPE_RAW,
    LINKTYPE_UPPER_PDU,
    capture,
    exported_pdu,
    udp_between,
)
from interop.strategies.bundle import bundles
from interop.strategies.ltp import segments
from interop.vectors import load
from stack.cli.inspect.tree import Frame, load_inputs, render_text, to_json
from stack.core.errors import ConfigError

BUNDLE = next(
    vector.data for vector in load("bpsec_rfc9173") if vector.name == "RFC9173-A.3 final bundle"
)
SEGMENT = bytes.fromhex("09 8768 4d 00 09")
LINES = "\n".join(BUNDLE.hex(" ")[start : start + 48] for start in range(0, 3 * len(BUNDLE), 48))


@pytest.mark.parametrize(
    "text",
    [
        BUNDLE.hex(),
        BUNDLE.hex().upper(),
        "0x" + BUNDLE.hex(),
        BUNDLE.hex(" "),
        BUNDLE.hex(":"),
        ", ".join(f"0x{octet:02x}" for octet in BUNDLE),
        LINES,
        LINES.replace("\n", "\r\n") + "\r\n",
    ],
)
@pytest.mark.parametrize("format", ["auto", "hex"])
def test_hexadecimal_in_every_dress(
    text: str, format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (in_argument,) = load_inputs(text, format=format)
    assert in_argument.data == BUNDLE
    path = tmp_path / "bundle.hex"
    path.write_text(text)
    (in_file,) = load_inputs(str(path), format=format)
    assert (in_file.data, in_file.kind, in_file.title) == (BUNDLE, "auto", str(path))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    (in_stream,) = load_inputs("-", format=format)
    assert in_stream.data == BUNDLE


def test_raw_files(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    path.write_bytes(BUNDLE)
    assert load_inputs(str(path)) == [Frame(BUNDLE, title=str(path))]
    path.write_bytes(b"abba")  # as text it would be hexadecimal
    assert load_inputs(str(path), format="raw")[0].data == b"abba"
    assert load_inputs(str(path))[0].data == bytes.fromhex("abba")
    path.write_bytes(b"")
    assert load_inputs(str(path))[0].data == b""


def test_captures(tmp_path: Path) -> None:
    path = tmp_path / "link.pcap"
    time_ns = 1_767_225_600_500_000_000
    packets = [
        udp_between(("192.0.2.1", 50000), ("192.0.2.2", 1113), SEGMENT, linktype=LINKTYPE_ETHERNET),
        b"\xff" * 12 + b"\x08\x06" + bytes(28),  # ARP: not for us
        udp_between(("::1", 4556), ("::2", 9), BUNDLE, linktype=LINKTYPE_ETHERNET),
        udp_between(("::1", 7), ("::2", 9), BUNDLE, linktype=LINKTYPE_ETHERNET),
    ]
    path.write_bytes(capture(packets, LINKTYPE_ETHERNET, time_ns=time_ns))
    frames = load_inputs(str(path))
    assert [(frame.data, frame.kind, frame.fault) for frame in frames] == [
        (SEGMENT, "ltp", ""),
        (BUNDLE, "auto", ""),
        (BUNDLE, "auto", ""),
    ]
    assert frames[0].title == (
        "packet 1, 2026-01-01T00:00:00.500Z, 192.0.2.1:50000 to 192.0.2.2:1113"
    )
    assert frames[1].title.endswith("packet 3, 2026-01-01T00:00:00.500Z, [::1]:4556 to [::2]:9")


def test_exported_pdus(tmp_path: Path) -> None:
    path = tmp_path / "link.pcap"
    packets = [exported_pdu(BUNDLE, "bpv7"), exported_pdu(SEGMENT, "ltp"), exported_pdu(b"", "x")]
    path.write_bytes(capture(packets, LINKTYPE_UPPER_PDU))
    assert [(frame.data, frame.kind) for frame in load_inputs(str(path), format="pcap")] == [
        (BUNDLE, "bundle"),
        (SEGMENT, "ltp"),
        (b"", "auto"),
    ]


def test_faults_of_a_capture_do_not_hide_what_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "link.pcap"
    good = udp_between(("192.0.2.1", 1), ("192.0.2.2", 1113), SEGMENT, linktype=LINKTYPE_RAW)
    wrong = good[:-1] + b"\xee"
    content = capture([good, wrong, b"\x45"], LINKTYPE_RAW)
    path.write_bytes(content + content[24:-1])
    frames = load_inputs(str(path))
    assert [bool(frame.fault) for frame in frames] == [False, True, True, False, True, True]
    assert frames[1].fault == "UDP checksum is wrong"
    assert frames[1].data == SEGMENT[:-1] + b"\xee"
    assert "IPv4 header cut short" in frames[2].fault
    assert "packet longer than the file" in frames[-1].fault


@pytest.mark.parametrize(
    ("source", "format", "word"),
    [
        ("9f0", "hex", "odd number"),
        ("9g", "hex", "No such file"),
        ("/nowhere/at/all", "auto", "No such file"),
        ("/nowhere/at/all", "raw", "No such file"),
        ("9f", "raw", "No such file"),
        ("9f", "cbor", "no format"),
        (".", "auto", "directory"),
        ("\0", "auto", "null byte"),
        ("x" * 5000, "auto", "name too long"),
    ],
)
def test_what_cannot_be_read(source: str, format: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        load_inputs(source, format=format)
    assert len(str(caught.value)) < 200


def test_files_that_are_not_what_was_said(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\x9f\x00")
    with pytest.raises(ConfigError, match="no hexadecimal digit"):
        load_inputs(str(path), format="hex")
    with pytest.raises(ConfigError, match="no capture file"):
        load_inputs(str(path), format="pcap")


def text_of(tree: Tree) -> str:
    console = Console(width=200, file=io.StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(render_text(tree))
    return captured.get()


def test_the_text_names_offsets_values_and_meanings() -> None:
    text = text_of(dissect(BUNDLE))
    lines = {line.strip(" │├└─") for line in text.splitlines()}
    assert {
        "[0+239] octets: 239 octets",
        "[0+239] bundle: ipn:2.1 to ipn:1.2",
        "[5+5] destination: ipn:1.2",
        "[39+1] security context: 1 (BIB-HMAC-SHA2)",
        "[203+35] data (encrypted by block 4)",
    } <= lines


def test_errors_come_with_their_section() -> None:
    text = text_of(dissect(BUNDLE[:30]))
    assert "RFC 8949 §3" in text
    assert "error: truncated CBOR" in text


def test_nothing_reaches_the_terminal_unescaped() -> None:
    tree = Tree("x", "\x1b[31mred[/red]", note="[bold]\x07\u202e", children=())
    text = text_of(tree)
    assert text.strip() == "[0] x: \\x1b[31mred[/red] ([bold]\\x07\\u202e)"


@given(
    st.one_of(
        st.binary(max_size=100),
        bundles().map(lambda bundle: bytes(bundle.payload.data)),
        segments().map(lambda segment: str(segment).encode()),
    )
)
def test_whatever_can_be_dissected_can_be_shown(octets: bytes) -> None:
    tree = dissect(octets)
    text = text_of(tree)
    assert all(char.isprintable() or char == "\n" for char in text)
    found = json.loads(json.dumps(to_json(tree)))
    assert (found["offset"], found["length"]) == (0, len(octets))


def test_json_says_the_same_as_the_tree() -> None:
    tree = dissect(BUNDLE)

    def same(found: dict[str, object], tree: Tree) -> bool:
        children = found.get("children", [])
        assert isinstance(children, list)
        names = ("label", "value", "offset", "length", "note", "status", "section")
        return all(found.get(name, "") == getattr(tree, name) for name in names) and all(
            same(child, below) for child, below in zip(children, tree.children, strict=True)
        )

    assert same(json.loads(json.dumps(to_json(tree))), tree)
