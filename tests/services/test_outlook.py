"""How often, and for what, the contact plan is asked."""

from __future__ import annotations

from collections.abc import Sequence

from stack.core.clock import SECOND
from stack.core.eid import Eid
from stack.policy import DataPolicy, NodeSet
from stack.ports.application import Expected
from stack.services.files.outlook import Outlook
from stack.services.files.state import OutObject, OutSpec
from tests.services.fake_port import FakeNet, FakePort

NEAR, FAR = Eid.parse("dtn://near/files"), Eid.parse("dtn://far/files")


def _object(
    number: int, destination: Eid, size: int, policy: DataPolicy | None = None
) -> OutObject:
    uid, digest = bytes((number,)) * 16, bytes(32)
    spec = OutSpec(
        uid, "/x", destination, "x", size, digest, 0, 1024, 1, "", 9999, number, policy=policy
    )
    return OutObject(spec, pending=[(0, spec.chunks)], order=number)


def test_between_times_the_plan_is_asked_only_for_what_is_new() -> None:
    asked: list[tuple[Eid, list[int]]] = []
    now = [0]

    class Port(FakePort):
        def now(self) -> int:
            return now[0]

        def expected(
            self, destination: Eid, octets: Sequence[int], policy: DataPolicy | None = None
        ) -> list[Expected | None]:
            assert isinstance(octets, list)
            asked.append((destination, octets))
            return [Expected(each, 1) for each in octets]

    outlook = Outlook(Port(FakeNet().node("dtn://gs1/")), "files")
    objects = [_object(1, NEAR, 1000), _object(2, FAR, 50), _object(3, NEAR, 200)]
    outlook.foresee(objects)
    assert asked == [(NEAR, [1000, 1200]), (FAR, [50])]

    objects.append(_object(4, NEAR, 30))
    outlook.foresee(objects)
    outlook.foresee(objects)
    assert asked[2:] == [(NEAR, [1230])]
    assert [obj.expected for obj in objects] == [
        Expected(octets, 1) for octets in (1000, 50, 1200, 1230)
    ]

    now[0] = 10 * SECOND
    outlook.foresee(objects)
    assert asked[3:] == [(NEAR, [1000, 1200, 1230]), (FAR, [50])]


def test_the_plan_is_asked_for_each_policy_by_itself() -> None:
    asked: list[tuple[list[int], DataPolicy | None]] = []

    class Port(FakePort):
        def now(self) -> int:
            return 0

        def expected(
            self, destination: Eid, octets: Sequence[int], policy: DataPolicy | None = None
        ) -> list[Expected | None]:
            asked.append((list(octets), policy))
            return [Expected(each, 1) for each in octets]

    home = DataPolicy(readers=NodeSet.parse("KR"), rest=NodeSet.parse("KR"))
    objects = [_object(1, NEAR, 100), _object(2, NEAR, 20, home), _object(3, NEAR, 3)]
    Outlook(Port(FakeNet().node("dtn://gs1/")), "files").foresee(objects)
    assert asked == [([100, 123], None), ([120], home)]
    assert [obj.expected for obj in objects] == [Expected(n, 1) for n in (100, 120, 123)]
