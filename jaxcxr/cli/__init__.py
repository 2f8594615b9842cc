"""The command line: flags and help, the experiments that ship, the dispatch of run modes."""
