"""Key distribution: the epochs of a domain, from its authority to each node, through blackouts.

messages.py    grants and holdings, and how they are signed and sealed
authority.py   makes epochs and repeats grants (sans-IO)
member.py      takes grants, acknowledges, asks (sans-IO)
records.py     epochs at rest
"""
