"""Benchmarks: what the package costs, against what a reader would write instead.

    make bench                     all of them, in one run (BENCH="fig1 stacking": some of them)

Each module here measures one question and returns tables, which `__main__` records under
`data/benchmarks/` and draws into one table of ratios and goals; the page "How fast" shows them.
"""
