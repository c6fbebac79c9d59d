"""CBOR Object Signing and Encryption (COSE: RFC 9052, RFC 9053, RFC 9964), as far as nodes use it.

    numbers.py    header labels, algorithms and key types, as IANA has them
    values.py     small CBOR values, with bounds
    keys.py       signature keys, COSE_Key, thumbprints (RFC 9679)
    messages.py   COSE_Sign1, COSE_Mac0, COSE_Encrypt0
    hpke.py       COSE_Encrypt for recipients who have HPKE keys (draft-ietf-cose-hpke)

Messages are made in deterministic encoding (RFC 8949 §4.2.1) and read in it, but for the order of
maps: indefinite lengths and longer heads are refused.  What is no such message raises
`DecodeError`; what does not verify or open raises `SecurityError`.
"""

from stack.cose.hpke import Encrypt as Encrypt
from stack.cose.hpke import HpkePrivateKey as HpkePrivateKey
from stack.cose.hpke import HpkePublicKey as HpkePublicKey
from stack.cose.hpke import decode_encrypt as decode_encrypt
from stack.cose.hpke import encrypt_for as encrypt_for
from stack.cose.hpke import seal_for as seal_for
from stack.cose.keys import SigningKey as SigningKey
from stack.cose.keys import VerifyingKey as VerifyingKey
from stack.cose.messages import Encrypt0 as Encrypt0
from stack.cose.messages import Mac0 as Mac0
from stack.cose.messages import Sign1 as Sign1
from stack.cose.messages import decode_encrypt0 as decode_encrypt0
from stack.cose.messages import decode_mac0 as decode_mac0
from stack.cose.messages import decode_sign1 as decode_sign1
from stack.cose.messages import encrypt0 as encrypt0
from stack.cose.messages import mac0 as mac0
from stack.cose.messages import seal0 as seal0
from stack.cose.messages import sign1 as sign1
from stack.cose.numbers import Algorithm as Algorithm
from stack.cose.numbers import HeaderLabel as HeaderLabel
