"""Bundle Protocol Security (RFC 9172) with the default contexts of RFC 9173.

    contexts.py   the two contexts as pure functions: BIB-HMAC-SHA2 and BCB-AES-GCM
    keys.py       the key file, the key ring of a node, and which key serves which pair of nodes
    epochs.py     the data keys of a domain, by epoch
    use.py        how often each key has encrypted
    bpsec.py      what a node does: protect what its applications send, open what is for them
    source.py, acceptor.py, passing.py, operations.py   how: as security source, as acceptor and
        verifier
    policy.py, rules.py   what it demands, and of which flow
    records.py    records of node id validation, which are signed and in clear
    cose_context.py, signatures.py   the COSE context, and who signs and verifies what with it

Who may hold which data (domains, jurisdictions, key exchange) builds on `keys.KeyRing`: it is the
only place that says which key opens what.
"""

from stack.security.bpsec import BpSec as BpSec
from stack.security.keys import Key as Key
from stack.security.keys import KeyRing as KeyRing
from stack.security.keys import load_keys as load_keys
from stack.security.keys import new_key_file as new_key_file
from stack.security.policy import SecurityPolicy as SecurityPolicy
from stack.security.rules import PolicyRule as PolicyRule
from stack.security.signatures import Signers as Signers
