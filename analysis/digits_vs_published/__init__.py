"""How far a cell's robustness on digits tells its robustness on the published data sets."""
