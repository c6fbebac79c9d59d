"""Commands on domains: who belongs to whom, and whom others trust."""
