// A program with two copies of the library in it: its own, static, and the shared one of a plugin. Their error
// categories have different addresses; the codes must be equal all the same, and the exception be caught.
#include <dlfcn.h>

#include <cstdio>

#include <pageserver/error.hpp>
#include <pageserver/open.hpp>

int main(int, char** argv) {
  void* const plugin = ::dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (plugin == nullptr) {
    std::fprintf(stderr, "%s\n", ::dlerror());
    return 1;
  }
  const auto read = reinterpret_cast<void (*)()>(::dlsym(plugin, "plugin_read_past_the_end"));
  try {
    read();
    return 2;
  } catch (const pageserver::MemoryError& error) {
    if (!(error.code() == pageserver::Errc::out_of_bounds)) return 3;
    if (error.code() == pageserver::Errc::busy) return 4;
    std::printf("%s; categories %s\n", error.what(),
                &error.code().category() == &pageserver::memory_category() ? "are one" : "differ");
  }
  try {
    std::byte bytes[4];
    pageserver::open("heap:")->read(70000, bytes);
    return 5;
  } catch (const std::system_error& error) {
    return error.code() == pageserver::Errc::out_of_bounds ? 0 : 6;
  }
}
