"""Who a node is, to whom it belongs, and who says so: X.509 (RFC 5280) in the form of RFC 9174.

forms.py       what our certificates have in them: node id, jurisdictions, roles, HPKE key
keys.py        private keys, and how they lie on a disk
certificate.py a certificate and a request, read and checked against their profile
authority.py   what the authority of a domain makes: certificates, revocations, federations
trust.py       what a node believes: chains, revocation lists, other domains; its directory
names.py       name spaces: which node ids a domain gives
naming.py      that no id is of two domains, before an authority signs
foreign.py     node ids that other domains have ever given
pem.py         files of these, which every tool that reads PEM can read (RFC 7468)
token.py       keys in a token (PKCS #11)
disk.py        their files, which nobody else may read
recovery.py    what a file shows that an authority from a backup has signed since
answer.py      whose the certificates of an answer are
folder.py      the folder of a node, and that of an authority
"""

from stack.identity.authority import Authority as Authority
from stack.identity.certificate import NodeRequest as NodeRequest
from stack.identity.certificate import Principal as Principal
from stack.identity.folder import AuthorityFolder as AuthorityFolder
from stack.identity.folder import Identity as Identity
from stack.identity.folder import NodeFolder as NodeFolder
from stack.identity.forms import Terms as Terms
from stack.identity.trust import Trust as Trust
