"""The wire: packets, login, tokens and values of TDS 7.4 ([MS-TDS])."""
