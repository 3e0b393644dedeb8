#!/bin/bash
# Finding: UBSan's check of an object's type (vptr, a part of -fsanitize=undefined) calls a sound object invalid while the
# process has no free file descriptor.
#
# Expected: what the check says depends on the object alone. At worst it says nothing where it can't look.
# Seen: before it looks at an object whose class it has not met, it tests by a pipe whether the memory can be read. Where the
#       pipe can't be made (EMFILE) it takes the memory for unreadable and reports "does not point to an object of type", with
#       "invalid vptr" and "memory cannot be printed". The call itself is right, and gives the right value. With
#       -fno-sanitize-recover, as tests are built, the process ends: a test that uses up the descriptors on purpose fails under
#       the sanitizer, and the report points at the object.
# Version: Debian 12: libubsan1 12.2.0-14+deb12u1, with g++ 12. Exit status 0: still so. 1: the behaviour changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -q libubsan1=12.2.0-14+deb12u1 >/dev/null 2>&1
dpkg -x ./libubsan1_*.deb unpacked
LD_LIBRARY_PATH=$(echo "$work"/unpacked/usr/lib/*)
export LD_LIBRARY_PATH

cat >object.cpp <<'C'
#include <cstdio>
#include <fcntl.h>
struct Base { virtual ~Base() = default; virtual int value() { return 1; } };
struct Derived : Base { int value() override { return 2; } };
int main(int argc, char**) {
  Derived derived;
  Base *volatile object = &derived;  // so that the compiler does not know the class
  if (argc > 1) { while (open("/dev/null", O_RDONLY) >= 0) {} }
  std::printf("value %d\n", object->value());
}
C
g++-12 -std=c++17 -fsanitize=undefined object.cpp -o object
ulimit -n 64
./object >with_descriptors 2>&1
./object none_left >without 2>&1
echo "with free descriptors: $(cat with_descriptors)"
echo "with none left:        $(grep -c 'does not point to an object of type' without) reports; $(grep '^value' without)"
grep 'runtime error' without | sed -E 's/0x[0-9a-f]+/ADDRESS/'
if [ "$(cat with_descriptors)" = "value 2" ] && grep -q '^value 2$' without && grep -q 'object has invalid vptr' without; then
  exit 0
fi
echo "the behaviour changed"
exit 1
