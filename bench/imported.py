"""Run a command of Python's in this process, and tell how many modules there are at its end: `imported.py FILE WORD …`.

The words are those behind the interpreter's name and options: `-m MODULE …`, `-c CODE` or `SCRIPT …`. What Python has
imported before it runs anything counts, too. Python's own `-X importtime` is lost where a command takes its streams.
"""

import runpy
import sys

told, *words = sys.argv[1:]
sys.argv = words[1:] if words[0] in {"-m", "-c"} else words
try:
    if words[0] == "-m":
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        exec(words[1])
    else:
        runpy.run_path(words[0], run_name="__main__")
finally:
    with open(told, "w") as file:  # noqa: PTH123 - pathlib would count
        file.write(str(len(sys.modules)))
