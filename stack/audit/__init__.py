"""What is written down of data with a policy, so that it can be proven afterwards.

merkle.py   the tree over a log's entries, and its proofs (RFC 9162)
event.py    an entry: what happened to which data, where and when
note.py     checkpoints of a log, signed, and cosigned by witnesses (C2SP)
log.py      a log as its node knows it, and closes it
witness.py  what a node attests of the logs of others
"""
