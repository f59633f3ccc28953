"""Grids of experiments: methods x data sets x images a class x lambda x seeds, resumable, local or on a cluster.

`python -m empirical.sweep` is the command. `cells` says what there is to run, `ledger` what has been run (and writes
the compact CSV that comparisons read), `work` runs a group of cells, `launch` spreads groups over processes,
`forecast` says what it will cost, and `missing_experts` which experts are missing.

On a cluster `cluster` submits (`cluster_settings`: asked for how; `data_card`: knowing the data without loading them),
`submission` records it, `slurm` talks to Slurm, `standing` says how each cell stands, and `job` is what runs on a node.
"""
