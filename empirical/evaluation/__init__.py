"""How good a set is, and how difficult: fresh networks by the published protocol, probes, ensembles."""
