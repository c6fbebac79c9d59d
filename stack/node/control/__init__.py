"""The control socket of a running node: what the command line asks it, and how it answers.

A UNIX stream socket with mode 0600: whoever runs as the same user (or as root) may do everything
that the node can, and nobody else may connect.  There is no further authentication.

One connection carries one request, a JSON object on one line.  The node answers with any number
of events and then with one result or one error, each a JSON object on a line of its own:

    -> {"op": "ping", "destination": "dtn://sat1/", "count": 2}
    <- {"event": "reply", "sequence": 0, "rtt_ns": 5012345}
    <- {"event": "reply", "sequence": 1, "rtt_ns": null}
    <- {"result": {"sent": 2, "received": 1}}

    -> {"op": "ping"}
    <- {"error": {"kind": "usage", "message": "destination: is missing", "remedy": "..."}}

An event that says ``"ack": true`` is repeated to somebody else unless the client answers it with
``{"ack": true}`` on a line.  A client that closes the connection ends its request.
"""
