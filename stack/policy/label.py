"""Data policies: who may read data, where even its ciphertext may rest, through whom it may pass.

In a bundle a policy is the data of an extension block of a private type (RFC 9171 §9.1), the same
in every fragment.  Its fields are those of a confidentiality label of STANAG 4774 and the three
sets of nodes, in deterministic CBOR (RFC 8949 §4.2.1):

    ["data-policy", readers, rest, transit, expires, audit, [*[policy id, classification,
     [*category], review time]]]

Sets are text (`stack.policy.node_set`), times DTN milliseconds (0: none).  What begins otherwise is
somebody else's block.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache

from stack.core.arguments import check_kind
from stack.core.eid import Eid
from stack.core.errors import DecodeError, LocalError
from stack.core.train import Buffer
from stack.policy.node_set import NodeSet
from stack.wire import cbor
from stack.wire.bundle import DATA_POLICY, DELETE_UNPROCESSED, REPLICATE, CanonicalBlock

LABEL_BYTES_MAX = 4096
"""A label travels in every fragment, and is kept beside every stored bundle."""

POLICY_REMEDY = 'load_policy(FILE) reads one, DataPolicy(rest=NodeSet.parse("KR | EU")) makes one'
"""What to give where a policy is asked for."""

LABEL_FLAGS = REPLICATE | DELETE_UNPROCESSED
"""Of a policy's block, whoever has made it: without the first, parts of the bundle would go on
without a policy, and without the second, through nodes that know of none."""

MARKINGS_MAX = 16
CATEGORIES_MAX = 32
TEXT_CHARS_MAX = 256
MAGIC = "data-policy"
_SECTION = "docs/sovereignty.md"


@dataclass(frozen=True, slots=True, order=True)
class Marking:
    """A confidentiality marking in the terms of STANAG 4774.  Raises `LocalError` for one with
    too many categories or texts that are too long."""

    policy_id: str
    """Whose marking it is, such as "NATO" or "KR-MSIT"."""

    classification: str
    categories: tuple[str, ...] = ()
    review_ms: int = 0
    """When it is to be looked at again, DTN milliseconds; 0: never."""

    def __post_init__(self) -> None:
        texts = (self.policy_id, self.classification, *self.categories)
        if len(self.categories) > CATEGORIES_MAX or any(len(t) > TEXT_CHARS_MAX for t in texts):
            raise LocalError(f"a marking with more than {CATEGORIES_MAX} categories or a long text")
        object.__setattr__(self, "categories", tuple(sorted(set(self.categories))))


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPolicy:
    """What the owner of data allows.  Raises `LocalError` for fields of other kinds."""

    readers: NodeSet = NodeSet.ANY
    """Nodes that may have it in clear."""

    rest: NodeSet = NodeSet.ANY
    """Nodes on whose disks it may be, if only as ciphertext."""

    transit: NodeSet = NodeSet.ANY
    """Nodes that may pass it on; as they store what they forward, they have to be in `rest` too."""

    expires_ms: int = 0
    """DTN milliseconds from which on nobody may hold it; 0: when its bundles' lifetimes end."""

    audit: bool = False
    """Whether each node that handles it has to keep a record of that."""

    markings: frozenset[Marking] = frozenset()
    _hash: int = field(init=False, repr=False, compare=False, default=0)
    """What is asked of a policy is looked up several times for each bundle."""

    def __post_init__(self) -> None:
        sets = (self.readers, self.rest, self.transit)
        for name, each in zip(("readers", "rest", "transit"), sets, strict=True):
            check_kind(name, each, NodeSet, 'NodeSet.parse("KR | EU") reads one')
        check_kind("expires_ms", self.expires_ms, int, "it takes DTN milliseconds, 0 for no end")
        check_kind("audit", self.audit, bool, "it takes True or False")
        check_kind("markings", self.markings, frozenset, "it takes frozenset({Marking(...)})")
        found = hash((sets, self.expires_ms, self.audit, self.markings))
        object.__setattr__(self, "_hash", found)

    def __hash__(self) -> int:
        return self._hash

    def about(self, to: Eid) -> DataPolicy:
        """What holds for what is said to `to` about data, without octets of it: it goes where the
        data may go and is for `to` alone to read, also when the data itself has had to go."""
        try:
            reader = NodeSet.parse(f'node:"{to.node}"')
        except DecodeError:  # a name that no pattern can mean: then as the data itself
            return self
        return replace(self, readers=reader, expires_ms=0)

    def meet(self, other: DataPolicy) -> DataPolicy:
        """What both allow: the policy of what was made of the data of both."""
        ends = [each for each in (self.expires_ms, other.expires_ms) if each]
        return DataPolicy(
            readers=self.readers & other.readers,
            rest=self.rest & other.rest,
            transit=self.transit & other.transit,
            expires_ms=min(ends, default=0),
            audit=self.audit or other.audit,
            markings=self.markings | other.markings,
        )


def policy_block(policy: DataPolicy, *, number: int, crc_type: int) -> CanonicalBlock:
    """The block of a policy.  It goes with every fragment, and who does not know it has to delete
    the bundle rather than carry it anywhere.  Raises `LocalError` as `encode_label`."""
    return CanonicalBlock(DATA_POLICY, number, LABEL_FLAGS, encode_label(policy), crc_type)


def label_of(blocks: Iterable[CanonicalBlock]) -> bytes:
    """The label among the blocks of a bundle, as it travels; empty without one."""
    for block in blocks:
        if block.type == DATA_POLICY and block.data[:_BEGINNING_BYTES] == _BEGINNING:
            return bytes(block.data)
    return b""


def labels_of(blocks: Iterable[CanonicalBlock]) -> list[bytes]:
    """All of them: more than one is wrong."""
    return [bytes(one.data) for one in blocks if one.type == DATA_POLICY and is_label(one.data)]


def policy_of(blocks: Iterable[CanonicalBlock]) -> DataPolicy | None:
    """The policy among the blocks of a bundle; None without one.  Raises `DecodeError` for one
    that cannot be read, and for two: nobody can tell which of them holds."""
    labels = labels_of(blocks)
    if len(labels) > 1:
        raise DecodeError("a second data policy", _SECTION)
    return decode_label(labels[0]) if labels else None


def encode_label(policy: DataPolicy) -> bytes:
    """The data of a policy's block.  Raises `LocalError` for one that is too large to travel."""
    for nodes in (policy.readers, policy.rest, policy.transit):
        try:
            nodes.check_readable()
        except DecodeError as error:
            raise LocalError(
                f"{error.reason}; write the sets of this data policy shorter"
            ) from None
    octets = cbor.array(
        (
            cbor.tstr(MAGIC),
            cbor.tstr(str(policy.readers)),
            cbor.tstr(str(policy.rest)),
            cbor.tstr(str(policy.transit)),
            cbor.uint(policy.expires_ms),
            cbor.uint(int(policy.audit)),
            cbor.array(map(_encode_marking, sorted(policy.markings))),
        )
    )
    if len(octets) > LABEL_BYTES_MAX or len(policy.markings) > MARKINGS_MAX:
        raise LocalError(
            f"this data policy takes {len(octets)} octets with {len(policy.markings)} markings:"
            f" {LABEL_BYTES_MAX} and {MARKINGS_MAX} at most; write its sets shorter"
        )
    return octets


def _encode_marking(marking: Marking) -> bytes:
    return cbor.array(
        (
            cbor.tstr(marking.policy_id),
            cbor.tstr(marking.classification),
            cbor.array(map(cbor.tstr, marking.categories)),
            cbor.uint(marking.review_ms),
        )
    )


def is_label(data: Buffer) -> bool:
    """Whether the data of a block of this type is meant as a policy of ours."""
    return data[:_BEGINNING_BYTES] == _BEGINNING


_BEGINNING = cbor.head(4, 7) + cbor.tstr(MAGIC)
_BEGINNING_BYTES = len(_BEGINNING)


def decode_label(data: Buffer) -> DataPolicy:
    """Inverse of `encode_label`.  Raises `DecodeError`, and keeps nothing that is wrong."""
    if len(data) > LABEL_BYTES_MAX:
        raise DecodeError(f"a data policy of {len(data)} octets", _SECTION)
    return _decoded(bytes(data))


@lru_cache(maxsize=1024)
def _decoded(data: bytes) -> DataPolicy:
    if not is_label(data):
        raise DecodeError("no data policy", _SECTION)
    at = len(_BEGINNING)
    sets = []
    for _ in range(3):
        text, at = cbor.read_tstr(data, at)
        sets.append(NodeSet.parse(text))
    expires_ms, at = cbor.read_uint(data, at)
    audit, at = cbor.read_uint(data, at)
    count, at = cbor.read_array(data, at)
    if audit > 1 or count > MARKINGS_MAX:
        raise DecodeError("audit is 0 or 1, and markings are few", _SECTION, at)
    markings = []
    for _ in range(count):
        marking, at = _decode_marking(data, at)
        markings.append(marking)
    if at != len(data):
        raise DecodeError("octets after the data policy", _SECTION, at)
    readers, rest, transit = sets
    found = DataPolicy(
        readers=readers,
        rest=rest,
        transit=transit,
        expires_ms=expires_ms,
        audit=bool(audit),
        markings=frozenset(markings),
    )
    try:
        encode_label(found)  # what is said of the data has a label, too
    except LocalError as error:
        raise DecodeError(f"written again it is no label: {error}", _SECTION) from None
    return found


def _decode_marking(data: bytes, at: int) -> tuple[Marking, int]:
    fields, at = cbor.read_array(data, at)
    if fields != 4:
        raise DecodeError(f"a marking of {fields} fields", _SECTION, at)
    policy_id, at = cbor.read_tstr(data, at)
    classification, at = cbor.read_tstr(data, at)
    count, at = cbor.read_array(data, at)
    if count > CATEGORIES_MAX:
        raise DecodeError(f"{count} categories", _SECTION, at)
    categories = []
    for _ in range(count):
        category, at = cbor.read_tstr(data, at)
        categories.append(category)
    review_ms, at = cbor.read_uint(data, at)
    try:
        return Marking(policy_id, classification, tuple(categories), review_ms), at
    except LocalError as error:
        raise DecodeError(str(error), _SECTION, at) from None
