#!/usr/bin/env python3
"""Does what a recorded trace of the engine did (tests/fixtures/engine/README.md) on a file, with the calls that the
engine's own file provider makes: replay_on_file.py TRACE FILE. Each read is compared with what was written."""
import os
import struct
import subprocess
import sys

trace = subprocess.run(["zstd", "-dc", sys.argv[1]], check=True, capture_output=True).stdout
file = os.open(sys.argv[2], os.O_RDWR)
records = struct.unpack_from("<8sQQQQQ", trace)[3]
at = 48
image = bytearray()
for record in range(records):
    kind = trace[at]
    at += 1
    if kind == 1:
        pages, before = struct.unpack_from("<QQ", trace, at)
        at += 16
        assert os.fstat(file).st_size == before == len(image), (record, before)
        image.extend(bytes(pages * 65536))
        os.ftruncate(file, len(image))
    elif kind == 2:
        offset, length = struct.unpack_from("<QI", trace, at)
        at += 20
        assert os.pread(file, length, offset) == image[offset:offset + length], (record, offset, length)
    elif kind in (3, 4):
        offset, length = struct.unpack_from("<QI", trace, at)
        at += 12
        data = trace[at:at + length] if kind == 3 else bytes(length)
        at += length if kind == 3 else 0
        assert os.pwrite(file, data, offset) == length, (record, offset, length)
        image[offset:offset + length] = data
    elif kind == 5:
        os.fdatasync(file)
    else:
        assert kind == 6, kind
        at += 13
os.close(file)
