"""What ctypes was told is what the header says."""
import ctypes
import pathlib
import re
import shutil
import subprocess

import pytest

from pageserver import _abi, errors

HEADER = pathlib.Path(__file__).parents[3] / "include/pageserver/pageserver.h"
pytestmark = pytest.mark.skipif(not HEADER.exists(), reason="the header is not beside this tree")


def test_each_function_is_known_with_as_many_parameters() -> None:
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)
    declared = dict(re.findall(r"PS_API [^;(]*?\b(ps_\w+)\(([^)]*)\)", text))
    unused = {"ps_async_wait", "ps_async_run"}  # asyncio waits by itself
    known = {*_abi._FUNCTIONS, *_abi._FREEING, "ps_version", "ps_code_name"}
    assert known == set(declared) - unused
    for name in known:
        parameters = 0 if declared[name].strip() == "void" else declared[name].count(",") + 1
        assert len(getattr(_abi.lib, name).argtypes) == parameters, name


def test_each_code_has_the_number_and_the_name_of_the_library() -> None:
    declared = dict(re.findall(r"PS_([A-Z_]+) = (\d+), ", HEADER.read_text().split("enum {")[1]))
    declared["NO_MEMORY"] = "1000"
    declared.pop("OK", None)
    for code in errors.Code:
        assert declared.get(code.name, str(int(code))) == str(int(code))
        assert _abi.lib.ps_code_name(code).decode() == code.name.lower()
        assert errors.error_of(code, b"x").code == code
    assert type(errors.error_of(4711, "\u00e4".encode())) is errors.ProviderError
    assert errors.error_of(4711, b"").code == 4711


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_each_struct_has_the_size_and_the_offsets_of_the_compiler(tmp_path: pathlib.Path) -> None:
    names = {
        "ps_error": _abi.CError, "ps_options": _abi.COptions, "ps_image_version": _abi.CVersion,
        "ps_range": _abi.CRange, "ps_ranges": _abi.CRanges, "ps_refreshed": _abi.CRefreshed,
        "ps_holder": _abi.CHolder, "ps_stat": _abi.CStat, "ps_traffic": _abi.CTraffic, "ps_store": _abi.CStore,
        "ps_recovery": _abi.CRecovery,
        "ps_stores": _abi.CStores, "ps_daemon_info": _abi.CDaemonInfo, "ps_view": _abi.CView,
        "ps_interest": _abi.CInterest, "ps_opened": _abi.COpened, "ps_load": _abi.CLoad,
        "ps_home": _abi.CHome,
        "ps_session_report": _abi.CSessionReport, "ps_sessions": _abi.CSessions, "ps_kicked": _abi.CKicked,
        "ps_identity": _abi.CIdentity,
    }  # fmt: skip
    lines = ["#include <pageserver/pageserver.h>", "#include <stdio.h>", "int main(void) {"]
    wanted = []
    for name, known in names.items():
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        wanted.append(f"{name} {ctypes.sizeof(known)}")
        for field in (each[0] for each in known._fields_):
            lines.append(f'printf("{name}.{field} %zu\\n", offsetof({name}, {field}));')
            wanted.append(f"{name}.{field} {getattr(known, field).offset}")
    source = tmp_path / "sizes.c"
    source.write_text("\n".join([*lines, "return 0; }"]))
    program = tmp_path / "sizes"
    subprocess.run(["cc", "-std=c11", f"-I{HEADER.parents[1]}", str(source), "-o", str(program)], check=True)
    said = subprocess.run([str(program)], check=True, stdout=subprocess.PIPE).stdout.decode().split("\n")
    assert said[:-1] == wanted
