"""The run modes: each reads its section of the config, calls the library, names the next step."""
