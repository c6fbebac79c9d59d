"""What a file shows that an authority has signed, though its own folder, from a backup, does not
know it.  Its signature proves it, whoever brings the file: a node's `trust.pem`, or an answer or
update that was written since."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509

from stack.core.errors import SecurityError
from stack.identity import pem
from stack.identity.authority import revocation_number
from stack.identity.trust import Trust


class Shown:
    """What in a file is signed by the authority of `root`.  Raises `SecurityError` where no
    revocation list is."""

    def __init__(self, root: x509.Certificate, blocks: Sequence[pem.PemBlock]) -> None:
        self.blocks = blocks
        self._trust = Trust(root)
        refusals = self._trust.learn(blocks)
        listed = self._trust.revocations(self._trust.domain)
        if listed is None:
            raise SecurityError(
                f"no revocation list that this authority of domain {self._trust.domain} has signed "
                + "".join(["is in it", *(f"; {why}" for why in refusals[:3])])
            )
        self._listed = listed

    @property
    def number(self) -> int:
        """Of the newest revocation list in it."""
        return revocation_number(self._listed)

    def certificates(self) -> list[x509.Certificate]:
        """Those of nodes of this domain."""
        domain = self._trust.domain
        return [one.certificate for one in self._trust.nodes() if one.facts.domain == domain]

    def unknown(self, trust: Trust) -> tuple[int, int]:
        """How many revocations are in it, and how many certificates of nodes, that `trust` does
        not have."""
        revoked = [
            one
            for one in self._listed
            if trust.lists.revoked(trust.domain, one.serial_number) is None
        ]
        known = {one.certificate for one in trust.nodes()}
        return len(revoked), len(set(self.certificates()) - known)

    def beyond(self, trust: Trust) -> bool:
        """Whether its list is one that must come after that of `trust`, or has come beside it."""
        ours = trust.revocations(trust.domain)
        if ours is None or self.number != revocation_number(ours):
            return self.number > list_number(trust)
        return self._listed != ours

    def lists_with(self, trust: Trust) -> list[x509.CertificateRevocationList]:
        """Its list, and that of `trust`: after a backup neither need have all that the other has,
        whichever has the higher number."""
        ours = trust.revocations(trust.domain)
        return [self._listed] if ours is None else [self._listed, ours]

    def doubled(self, trust: Trust) -> list[int]:
        """Serial numbers of what was signed for the authority of another domain, here and there:
        all but the one that counts once `trust` has learned the other, which are to be revoked, as
        `federate` does with a former one."""
        both = Trust(trust.root)
        both.learn([*trust.blocks(), *self.blocks])
        found = {
            serial
            for one in (trust, self._trust)
            for domain in one.federations
            for serial in one.cross_serials(domain)
        }
        return sorted(found.difference(*(both.cross_serials(one) for one in both.federations)))


def list_number(trust: Trust) -> int:
    """The number of the revocation list of one's own domain; 0 without one."""
    listed = trust.revocations(trust.domain)
    return 0 if listed is None else revocation_number(listed)
