"""What is written down of data with a policy, so that it can be proven afterwards.

merkle.py   the tree over a log's entries, and its proofs (RFC 9162)
event.py    an entry: what happened to which data, where and when
note.py     checkpoints of a log, signed, and cosigned by witnesses (C2SP)
log.py      a log as its node knows it, and closes it
others.py   several logs of one node, as witnesses have seen them
export.py   logs as files, and what is found in them
story.py    the logs of several nodes as one story per object
proof.py    that an object rested only where it may
receipt.py  entries as statements of SCITT with COSE receipts (RFC 9942, 9943)
witness.py  what a node attests of the logs of others
"""
