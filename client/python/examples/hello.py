"""The same few lines in Python: hello.py [URI]"""
import sys

import pageserver


def main() -> None:
    with pageserver.open(sys.argv[1] if len(sys.argv) > 1 else "pageserver://127.0.0.1/demo") as memory:
        if memory.pages == 0:
            memory.grow(16)
        memory.write(70000, b"hello")
        memory.flush()  # on disk when this returns
        greeting = bytearray(5)
        memory.read_into(70000, greeting)
        print(f"{greeting.decode()} from {memory.pages} pages")


try:
    main()
except pageserver.Error as error:
    sys.exit(f"{error.code}: {error}")
