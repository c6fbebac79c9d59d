"""CBOR Object Signing and Encryption (COSE: RFC 9052, RFC 9053, RFC 9964), as far as nodes use it.

    numbers.py    header labels, algorithms and key types, as IANA has them
    values.py     small CBOR values, with bounds
    keys.py       signature keys, COSE_Key, thumbprints (RFC 9679)
    messages.py   COSE_Sign1, COSE_Mac0, COSE_Encrypt0
    layers.py     COSE_Encrypt, COSE_Mac and COSE_Sign: for several recipients, by several signers
    recipients.py COSE_recipient, and what keys of recipients are
    hpke.py       recipients who have HPKE keys (draft-ietf-cose-hpke)
    agreement.py  recipients with whom a key is agreed upon (ECDH)
    wrapping.py   recipients with whom a secret is shared, or who have RSA keys
    kdf.py        what the last two derive keys with

Messages are made in deterministic encoding (RFC 8949 §4.2.1) and read in it, but for the order of
maps: indefinite lengths and longer heads are refused.  What is no such message raises
`DecodeError`; what does not verify or open raises `SecurityError`.
"""

from stack.cose.agreement import AgreedWith as AgreedWith
from stack.cose.agreement import AgreementPrivateKey as AgreementPrivateKey
from stack.cose.agreement import AgreementPublicKey as AgreementPublicKey
from stack.cose.agreement import fresh_for as fresh_for
from stack.cose.hpke import HpkePrivateKey as HpkePrivateKey
from stack.cose.hpke import HpkePublicKey as HpkePublicKey
from stack.cose.keys import SigningKey as SigningKey
from stack.cose.keys import VerifyingKey as VerifyingKey
from stack.cose.layers import Encrypt as Encrypt
from stack.cose.layers import Mac as Mac
from stack.cose.layers import Sign as Sign
from stack.cose.layers import decode_encrypt as decode_encrypt
from stack.cose.layers import decode_mac as decode_mac
from stack.cose.layers import decode_sign as decode_sign
from stack.cose.layers import encrypt_for as encrypt_for
from stack.cose.layers import mac_for as mac_for
from stack.cose.layers import seal_for as seal_for
from stack.cose.layers import seal_to as seal_to
from stack.cose.layers import sign_by as sign_by
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
from stack.cose.recipients import OpeningKey as OpeningKey
from stack.cose.recipients import SealingKey as SealingKey
from stack.cose.wrapping import RsaPrivateKey as RsaPrivateKey
from stack.cose.wrapping import RsaPublicKey as RsaPublicKey
from stack.cose.wrapping import SharedSecret as SharedSecret
