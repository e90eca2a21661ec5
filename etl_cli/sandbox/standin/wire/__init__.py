"""The TDS 7.4 wire: packets, TLS, login, types, values, tokens, remote procedure calls."""
