"""What tests of several modules share: worlds, stand-ins and recorders. No test is in here."""
