// A library that uses the shared libpageserver and lets its errors pass to a program that has the static one.
#include <pageserver/open.hpp>

extern "C" __attribute__((visibility("default"))) void plugin_read_past_the_end() {
  std::byte bytes[4];
  pageserver::open("heap:")->read(70000, bytes);
}
