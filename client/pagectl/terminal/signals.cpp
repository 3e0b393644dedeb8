#include "client/pagectl/terminal/signals.hpp"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.hpp"
#include "client/pagectl/terminal/progress.hpp"

namespace pageserver::pagectl {
namespace {

struct Registry {
  Mutex mutex;
  std::vector<std::pair<int, std::string>> files PAGESERVER_GUARDED_BY(mutex);  // by folder and name
  std::function<void()> handler PAGESERVER_GUARDED_BY(mutex);                   // of the first signal
  void (*last)() noexcept PAGESERVER_GUARDED_BY(mutex) = nullptr;               // before the end
};

/// Never destroyed: the thread may still use it while the process ends.
Registry& registry() {
  static auto* const instance = new Registry;
  return *instance;
}

void wait_for_signal(sigset_t signals) {
  int number = 0;
  Registry& all = registry();
  for (;;) {
    if (::sigwait(&signals, &number) != 0) return;
    std::function<void()> handler;
    {
      const Lock lock(all.mutex);
      handler = std::exchange(all.handler, nullptr);
    }
    if (!handler) break;
    handler();
  }
  // Held to the end, so that no new temporary file can appear.
  const Lock lock(all.mutex);
  for (const auto& [folder, name] : all.files) ::unlinkat(folder, name.c_str(), 0);
  if (all.last != nullptr) all.last();
  end_progress_line();
  ::_exit(128 + number);
}

}  // namespace

void watch_signals() {
  ::signal(SIGPIPE, SIG_IGN);
  // A file that grows past `ulimit -f` is an error with a text.
  ::signal(SIGXFSZ, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  bool any = false;
  for (const int number : std::array{SIGINT, SIGTERM, SIGHUP}) {
    // What the parent chose to ignore (nohup, a shell's background job) stays ignored.
    struct sigaction current {};
    if (::sigaction(number, nullptr, &current) == 0 && current.sa_handler == SIG_IGN) continue;
    sigaddset(&signals, number);
    any = true;
  }
  if (!any) return;
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread(wait_for_signal, signals).detach();
}

void before_signal_ends(void (*what)() noexcept) {
  Registry& all = registry();
  const Lock lock(all.mutex);
  all.last = what;
}

void handle_signal(std::function<void()> handler) {
  Registry& all = registry();
  const Lock lock(all.mutex);
  all.handler = std::move(handler);
}

void remove_on_signal(int folder, const std::string& name) {
  Registry& all = registry();
  const Lock lock(all.mutex);
  all.files.emplace_back(folder, name);
}

void keep_on_signal(int folder, const std::string& name) {
  Registry& all = registry();
  const Lock lock(all.mutex);
  std::erase(all.files, std::pair(folder, name));
}

}  // namespace pageserver::pagectl
