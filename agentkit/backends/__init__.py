"""Language models behind one interface, `Model`."""
