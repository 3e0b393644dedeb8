// A session in an event loop of the program's own, beside what else it waits for: event_loop [URI]
// Every line on standard input is an offset; its answer is the byte there, whichever comes first.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <exception>
#include <list>
#include <string>

#include <pageserver/async_session.hpp>

namespace {

using Clock = std::chrono::steady_clock;

struct Read {
  std::uint64_t offset = 0;
  std::array<std::byte, 1> byte{};  // stays where it is until the answer has come
};

class Loop {
public:
  explicit Loop(const std::string& uri) : session_(uri) {}

  void run() {
    while (input_open_ || session_.outstanding() > 0) {
      std::array<pollfd, 2> fds{{{session_.socket(), session_.events(), 0}, {input_open_ ? 0 : -1, POLLIN, 0}}};
      if (::poll(fds.data(), fds.size(), milliseconds_left()) < 0) continue;
      if (fds[1].revents != 0) take_input();
      session_.poll();  // sends what was started, runs what has come
    }
  }

private:
  int milliseconds_left() const {
    if (session_.outstanding() == 0) return -1;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(session_.next_deadline() - Clock::now());
    return static_cast<int>(std::clamp<std::int64_t>(left.count() + 1, 0, 60'000));
  }

  void take_input() {
    std::array<char, 4096> bytes{};
    const ssize_t got = ::read(0, bytes.data(), bytes.size());
    if (got <= 0) input_open_ = false;
    if (got > 0) input_.append(bytes.data(), static_cast<std::size_t>(got));
    for (std::size_t end; (end = input_.find('\n')) != std::string::npos; input_.erase(0, end + 1))
      start(std::stoull(input_.substr(0, end)));
  }

  void start(std::uint64_t offset) {
    const auto read = reads_.insert(reads_.end(), Read{offset, {}});
    session_.read(offset, read->byte, [this, read](const pageserver::MemoryError* error) {
      if (error != nullptr) {
        std::printf("%s\n", error->what());
      } else {
        std::printf("%llu: %u\n", static_cast<unsigned long long>(read->offset),
                    std::to_integer<unsigned>(read->byte[0]));
      }
      reads_.erase(read);
    });
  }

  pageserver::AsyncSession session_;
  std::list<Read> reads_;
  std::string input_;
  bool input_open_ = true;
};

}  // namespace

int main(int argc, char** argv) try {
  const std::string uri = argc > 1 ? argv[1] : "pageserver://127.0.0.1/demo";
  Loop{uri + (uri.find('?') == std::string::npos ? "?" : "&") + "access=read"}.run();
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
