"""What tests of several modules share: worlds, emulators and recorders. No test is in here."""
