#!/usr/bin/env python3
"""Does what a recorded trace of the engine did (tests/fixtures/engine/README.md) on a file, with the calls that the
engine's own file provider makes: replay_on_file.py TRACE FILE. FILE holds what the trace begins with. Each read is
compared with what was written."""
import os
import struct
import subprocess
import sys

# Some are larger than memory allows.
unpacking = subprocess.Popen(["zstd", "-dcq", sys.argv[1]], stdout=subprocess.PIPE)
trace = unpacking.stdout


def take(layout):
    return struct.unpack("<" + layout, trace.read(struct.calcsize("<" + layout)))


file = os.open(sys.argv[2], os.O_RDWR)
_, initial, _, records, final, _ = take("8sQQQQQ")
image = bytearray(os.pread(file, initial, 0))
assert len(image) == initial == os.fstat(file).st_size
for record in range(records):
    (kind,) = take("B")
    if kind == 1:
        pages, before = take("QQ")
        assert os.fstat(file).st_size == before == len(image), (record, before)
        image.extend(bytes(pages * 65536))
        os.ftruncate(file, len(image))
    elif kind == 2:
        offset, length, _ = take("QIQ")
        assert os.pread(file, length, offset) == image[offset:offset + length], (record, offset, length)
    elif kind in (3, 4):
        offset, length = take("QI")
        data = trace.read(length) if kind == 3 else bytes(length)
        assert os.pwrite(file, data, offset) == length, (record, offset, length)
        image[offset:offset + length] = data
    elif kind == 5:
        os.fdatasync(file)
    else:
        assert kind == 6, kind
        take("BQI")
os.close(file)
assert len(image) == final and trace.read(1) == b"" and unpacking.wait() == 0
