// Where several daemons can reach a store, in a Ceph pool: who has it, who stands by, how it is taken over and given
// up.
#include <fcntl.h>

#include <vector>

#include "base/clock.hpp"
#include "server/stores/store_host.hpp"
#include "storage/file/file_io.hpp"
#include "storage/file/folder.hpp"
#include "storage/file/siblings.hpp"
#include "storage/image/image_file.hpp"

namespace pageserver::server {

bool StoreHost::say_taken_over(storage::Store& store) {
  const std::string why = store.taken_over();
  if (why.empty()) return false;
  elsewhere_ = true;
  if (!said_taken_over_.exchange(true))
    log_.warn("store taken over", {{"store", settings_.name}, {"path", settings_.path}, {"reason", why}});
  static_cast<void>(store.break_lease(0, "another daemon has taken the store over: " + why));
  return true;
}

namespace {

// A store that was given up is left to others for so long: whoever asked for it must find it free.
constexpr std::chrono::milliseconds left_for{5000};
// Whoever asks waits for so long: a lease, and what a holder copies before it lets go.
constexpr std::chrono::milliseconds ask_patience{10'000};
constexpr std::chrono::milliseconds ask_again{500};
constexpr std::chrono::milliseconds holder_look{20};
// A checkpoint comes first, for a while, where a successor would have more than this to copy.
constexpr std::uint64_t lag_bytes_small = 1ull << 20;
constexpr std::chrono::milliseconds checkpoint_patience{3000};

/// Empty: nobody has it.
std::string holder_of(storage::HomeControl& control, const std::string& path) {
  std::string holder;
  if (const int error = control.holder(holder); error != 0)
    throw MemoryError{Errc::provider_error, "look who has " + storage::quoted(path) + ": " +
                                                std::error_code{error, std::generic_category()}.message()};
  return holder;
}

}  // namespace

// Without waiting for a lease, where it stands by or has had the store before; else the opening waits for one.
void StoreHost::check_elsewhere() {
  const std::string open = "open store " + storage::quoted(settings_.name) + ": ";
  if (std::chrono::steady_clock::now() < not_before_) {
    elsewhere_ = true;
    throw ServedElsewhere{open + "this daemon has given it up to " + given_up_to_ + "; open it there"};
  }
  if (!settings_.standby && !was_opened_) return;
  if (control_ == nullptr) control_ = storage::home_control_of(*file_system_, settings_.path);
  if (control_ == nullptr) return;
  const std::string holder = holder_of(*control_, settings_.path);
  if (holder.empty()) return;
  elsewhere_ = true;
  throw ServedElsewhere{open + (settings_.standby ? "this daemon stands by; " : "") + "the store is locked by " +
                        holder + "; open it there, or see `pagectl takeover`"};
}

StoreHost::TakeOver StoreHost::take_over(const std::string& who, bool holder_is_dead) {
  TakeOver result;
  {
    const storage::Store* const store = current();
    result.was_here = store != nullptr && store->taken_over().empty();
    if (result.was_here) return result;
  }
  const std::string what = "takeover of store " + storage::quoted(settings_.name) + ": ";
  if (!beyond_)
    throw MemoryError{Errc::unsupported,
                      what + "its image is a file of this machine: stop whoever has it, and open the store"};
  const auto began = std::chrono::steady_clock::now();
  const auto control = storage::home_control_of(*file_system_, settings_.path);
  if (control != nullptr) result.holder = holder_of(*control, settings_.path);
  if (!result.holder.empty() && holder_is_dead) {
    if (const int error = control->break_lock(); error != 0)
      throw MemoryError{Errc::provider_error, what + "break the lock of " + result.holder + ": " +
                                                  std::error_code{error, std::generic_category()}.message()};
  } else if (!result.holder.empty()) {
    struct Told {
      Mutex mutex;
      CondVar changed;
      bool free PAGESERVER_GUARDED_BY(mutex) = false;
    };
    const auto told = std::make_shared<Told>();
    const auto watch = control->watch([told] {
      const Lock lock{told->mutex};
      told->free = true;
      told->changed.notify_all();
    });
    auto asked = began - ask_again;
    for (std::string holder = result.holder; !holder.empty(); holder = holder_of(*control, settings_.path)) {
      const auto now = std::chrono::steady_clock::now();
      if (now - began >= ask_patience)
        throw MemoryError{Errc::busy, what + holder + " was asked for it and has not given it up within " +
                                          std::to_string(ask_patience.count()) +
                                          " ms; ask again, or where that one is dead: pagectl takeover --dead"};
      if (settings_.abandon_recovery != nullptr && *settings_.abandon_recovery)
        throw MemoryError{Errc::busy, what + "the daemon is stopping"};
      if (now - asked >= ask_again) {
        control->ask(who);
        asked = now;
      }
      Lock lock{told->mutex};
      told->changed.wait_for(lock, holder_look, [&]() PAGESERVER_REQUIRES(told->mutex) { return told->free; });
      told->free = false;
    }
  }
  not_before_ = {};
  static_cast<void>(opened());
  result.took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began);
  said_standing_by_.clear();
  return result;
}

// Writers that can go on elsewhere come back before they are told that it is over.
void StoreHost::leave(storage::Store& store, const std::string& why) {
  lets_go_ = true;
  try {
    if (settings_.let_writers_go != nullptr && *settings_.let_writers_go) (*settings_.let_writers_go)(settings_.name);
    said_taken_over_ = true;  // whoever leaves it says so
    store.give_up(why);
  } catch (...) {
    lets_go_ = false;
    throw;
  }
  lets_go_ = false;
}

// First what a successor would have to copy, while this one still serves; then the writers who can go on there; and
// then all at once.
void StoreHost::consider_giving_up(storage::Store& store) {
  const std::string who = store.wanted_by();
  if (who.empty()) return;
  const auto now = std::chrono::steady_clock::now();
  if (wanted_since_ == std::chrono::steady_clock::time_point{}) wanted_since_ = now;
  if (store.figures(base::monotonic_ms()).checkpoint_lag_bytes > lag_bytes_small &&
      now - wanted_since_ < checkpoint_patience)
    return store.begin_checkpoint();
  given_up_to_ = who;
  not_before_ = now + left_for;
  elsewhere_ = true;
  leave(store, "it was given up to " + who);
  log_.info(
      "store given up",
      {{"store", settings_.name},
       {"path", settings_.path},
       {"to", who},
       {"ms", std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - now).count()}});
  static_cast<void>(say_taken_over(store));
}

void StoreHost::try_standing_in() {
  if (ended_ || std::chrono::steady_clock::now() < not_before_) return;
  if (settings_.abandon_recovery != nullptr && *settings_.abandon_recovery) return;
  std::string why;
  try {
    static_cast<void>(opened());
    said_standing_by_.clear();
    home_watch_.reset();
    return;
  } catch (const ServedElsewhere& error) {
    why = error.what();
    if (why != said_standing_by_) {
      home_watch_.reset();
      log_.info("standing by", {{"store", settings_.name}, {"path", settings_.path}, {"reason", why}});
    }
  } catch (const MemoryError& error) {
    why = error.what();
    if (why != said_standing_by_)
      log_.warn("store not taken", {{"store", settings_.name}, {"path", settings_.path}, {"error", why}});
  }
  said_standing_by_ = std::move(why);
  if (home_watch_ != nullptr || control_ == nullptr) return;
  home_watch_ = control_->watch([news = news_] {
    const Lock lock{news->mutex};
    if (news->host != nullptr) news->host->look_at_home();
  });
}

// Of a pool that was full: whether it takes again what it refused. A file that a kill leaves here is written over.
bool StoreHost::has_room() {
  const std::string path = storage::resolved_image_path(*file_system_, settings_.path);
  const auto folder = storage::Folder::open(*file_system_, storage::parent_folder(path));
  const std::string name = storage::sibling_name(storage::file_name(path), storage::Sibling::spill, 0);
  const auto tried = [](const auto& call) {
    try {
      call();
      return true;
    } catch (const MemoryError&) {
      return false;
    }
  };
  const bool written = tried([&] {
    const storage::File file = folder.open_file(name, O_RDWR | O_CREAT, settings_.file_mode, "create");
    const std::vector<std::byte> bytes(64 << 10);
    file.write(0, bytes);
    file.sync_data();
  });
  return tried([&] { folder.remove(name); }) && written;
}

// After a failed sync nothing is written any more until an opening has looked at what is there. In a pool that is as
// safe at once as after a restart of the daemon: whoever opens it has a later epoch. Reads go on until there is room.
void StoreHost::consider_opening_anew(storage::Store& store) {
  constexpr std::chrono::seconds look_interval{1};
  const auto now = std::chrono::steady_clock::now();
  if (now - looked_for_room_ < look_interval) return;
  looked_for_room_ = now;
  if (!has_room()) return;
  leave(store, "its log could not be written; the store is opened anew");
  is_broken_ = false;
  log_.info("store opened anew", {{"store", settings_.name}, {"path", settings_.path}});
  static_cast<void>(say_taken_over(store));
  elsewhere_ = false;
  try {
    static_cast<void>(opened());
  } catch (const MemoryError& error) {
    // Whoever opens a session tries again.
    log_.warn("store not taken", {{"store", settings_.name}, {"path", settings_.path}, {"error", error.what()}});
  }
}

void StoreHost::watch_home() {
  storage::Store* const store = current();
  if (store != nullptr && store->taken_over().empty()) {
    if (is_broken_) consider_opening_anew(*store);
    if (store->taken_over().empty()) consider_giving_up(*store);
    return;
  }
  if (settings_.standby) try_standing_in();
}

void StoreHost::look_at_home() noexcept {
  if (!beyond_) return;
  bool due = settings_.standby && !is_open();
  look_at_store([&](storage::Store& store) {
    due = store.taken_over().empty() ? is_broken_ || !store.wanted_by().empty() : settings_.standby;
  });
  if (!due || home_due_.exchange(true)) return;
  try {
    jobs_.submit_patient([this] {
      home_due_ = false;
      try {
        watch_home();
      } catch (const std::exception& error) {
        log_.warn("store not given up", {{"store", settings_.name}, {"error", error.what()}});
      }
    });
  } catch (const std::bad_alloc&) {
    home_due_ = false;
  }
}

}  // namespace pageserver::server
