#include "tests/soak/life.hpp"

#include "tests/soak/store_model.hpp"

namespace pageserver::test::soak {

namespace {

/// What is certain to come on a machine that has other things to do.
constexpr std::chrono::seconds patience{60};

}  // namespace

void Field::judge(const MemoryError& error, std::string_view doing) { judge(error.errc(), error.what(), doing); }

void Field::judge(Errc code, const std::string& text, std::string_view doing) {
  bool expected = false;
  switch (code) {
    case Errc::connection_lost: expected = ending || connections_go; break;
    case Errc::busy: expected = doing == "open"; break;
    case Errc::lease_lost:
      expected = breaks != 0;
      ++leases_lost;
      break;
    case Errc::snapshot_too_old:
      expected = pins_go || no_room || fills_small_disk(code, text, doing);
      ++versions_given_up;
      break;
    case Errc::no_space:
    case Errc::limit_exceeded:
      expected = no_room || fills_small_disk(code, text, doing);
      ++refusals;
      break;
    case Errc::provider_error: expected = touched; break;
    default: break;
  }
  // While a stop is under way a daemon says so in more than one way.
  if (!expected && !ending && !touched)
    throw Violation("unexpected error " + std::string(to_string(code)) + " at " + std::string(doing) + ": " + text);
  if (code == Errc::damaged || code == Errc::out_of_bounds || code == Errc::timed_out || code == Errc::invalid_argument)
    throw Violation("error " + std::string(to_string(code)) + " at " + std::string(doing) + ": " + text);
}

bool Field::fills_small_disk(Errc code, const std::string& text, std::string_view doing) const {
  const auto says = [&text](std::string_view words) { return text.find(words) != std::string::npos; };
  if (small_disk.empty() || !says('"' + small_disk + '/')) return false;
  if (code == Errc::snapshot_too_old) return says("was given up: the disk is full");
  return code == Errc::no_space && doing == "fork" && says("No space left on device") && says(" are held by the ");
}

void Field::step() {
  if (++steps_ != target_) return;
  const std::lock_guard lock(mutex_);
  reached_.notify_all();
}

void Field::wait_for_steps(std::uint64_t steps) {
  const std::uint64_t target = steps_ + steps;
  target_ = target;
  std::unique_lock lock(mutex_);
  const auto reached = [&] { return steps_ >= target || !violation_.empty(); };
  if (!reached_.wait_for(lock, patience, reached))
    throw Violation("nothing moves: " + std::to_string(target - steps_) + " steps are missing after " +
                    std::to_string(patience.count()) + " s");
}

void Field::note_violation(const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (violation_.empty()) violation_ = text;
  stop = true;
  reached_.notify_all();
}

std::string Field::violation() const {
  const std::lock_guard lock(mutex_);
  return violation_;
}

std::string Field::uri(Way way, std::string_view store, std::string_view query) const {
  if (way == Way::tcp)
    return "pageserver://127.0.0.1:" + std::to_string(port) + "/" + std::string(store) + "?" + std::string(query);
  if (way == Way::tls)
    return "pageservers://127.0.0.1:" + std::to_string(tls_port) + "/" + std::string(store) + "?tls_ca=" + tls_ca +
           "&" + std::string(query);
  return "pageserver+unix:///" + std::string(store) + "?socket=" + socket + "&" + std::string(query);
}

}  // namespace pageserver::test::soak
