// Many reads in flight from one thread: many_in_flight [URI]
#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include <pageserver/async_session.hpp>

int main(int argc, char** argv) try {
  const std::string uri = argc > 1 ? argv[1] : "pageserver://127.0.0.1/demo";
  pageserver::AsyncSession session{uri + (uri.find('?') == std::string::npos ? "?" : "&") + "access=read"};
  std::vector<std::array<std::byte, 4096>> blocks(std::min<std::uint64_t>(session.opened().pages * 16, 256));
  std::size_t zeros = 0;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    // Past what the daemon takes at once operations wait in the session: they cost memory, no time.
    session.run_until([&] { return session.has_room(); });
    session.read(i * 4096, blocks[i], [&zeros, &block = blocks[i]](const pageserver::MemoryError* error) {
      if (error != nullptr) throw *error;  // passes through run_until()
      zeros += block == std::array<std::byte, 4096>{};
    });
  }
  session.run_until([&] { return session.outstanding() == 0; });
  std::printf("%zu blocks, %zu of zeros\n", blocks.size(), zeros);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
