"""Helpers of a book on memorization in deep networks.

The data flows one way: a `Dataset` (`data`) is corrupted (`corrupt`); an ensemble of networks
(`networks`) is trained on it as one (`training`, `sweep`) while probes watch; what they saw is a
tidy table, which a chart (`charts`), an interval (`stats`) and a claim (`claims`) read; and the run
is recorded (`lab`). A module here is a word that a chapter says; the folders hold what none says.
"""
