"""ACME: certificates from an authority over the network, for node ids (RFC 8555, RFC 9891)."""
