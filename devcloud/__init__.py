"""An Azure for one laptop, for tests and `hygge dev`. Never imported by hygge_engine; left out of the deployment."""
