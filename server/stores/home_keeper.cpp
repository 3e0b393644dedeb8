#include "server/stores/home_keeper.hpp"

#include <cstdint>
#include <exception>
#include <system_error>

#include "base/clock.hpp"
#include "base/mutex.hpp"
#include "storage/file/file_io.hpp"
#include "storage/file/home.hpp"
#include "storage/image/image_file.hpp"

namespace pageserver::server {

namespace {

constexpr std::chrono::milliseconds ask_again{500};
constexpr std::chrono::milliseconds holder_look{20};

/// Empty: nobody has it.
std::string holder_of(storage::HomeControl& control, const std::string& path) {
  std::string holder;
  if (const int error = control.holder(holder); error != 0)
    throw MemoryError{Errc::provider_error, "look who has " + storage::quoted(path) + ": " +
                                                std::error_code{error, std::generic_category()}.message()};
  return holder;
}

}  // namespace

HomeKeeper::HomeKeeper(storage::FileSystem& file_system, const StoreSettings& settings, Log& log, HostedStore& store,
                       Host host)
    : file_system_(file_system),
      settings_(settings),
      log_(log),
      store_(store),
      open_(std::move(host.open)),
      is_beyond_(storage::is_home_path(settings.path)),
      watch_([this] { return storage::home_control_of(file_system_, settings_.path); }, std::move(host.news)) {}

bool HomeKeeper::say_taken_over(storage::Store& store) {
  const std::string why = store.taken_over();
  if (why.empty()) return false;
  elsewhere_ = true;
  if (!said_taken_over_.exchange(true))
    log_.warn("store taken over", {{"store", settings_.name}, {"path", settings_.path}, {"reason", why}});
  static_cast<void>(store.break_lease(0, "another daemon has taken the store over: " + why));
  return true;
}

void HomeKeeper::check_elsewhere() {
  if (!is_beyond_) return;
  const std::string open = "open store " + storage::quoted(settings_.name) + ": ";
  if (giving_up_.is_left_to_others(GivingUp::Clock::now())) {
    elsewhere_ = true;
    throw ServedElsewhere{open + "this daemon has given it up to " + giving_up_.to() + "; open it there"};
  }
  if (!settings_.standby && !was_opened_) return;
  storage::HomeControl* const control = watch_.control();
  if (control == nullptr) return;
  const std::string holder = holder_of(*control, settings_.path);
  if (holder.empty()) return;
  elsewhere_ = true;
  throw ServedElsewhere{open + (settings_.standby ? "this daemon stands by; " : "") + "the store is locked by " +
                        holder + "; open it there, or see `pagectl takeover`"};
}

bool HomeKeeper::refused(const MemoryError& error) noexcept {
  watch_.forget();
  if (!is_beyond_ || error.errc() != Errc::busy) return false;
  elsewhere_ = true;
  return true;
}

bool HomeKeeper::opened() noexcept {
  was_opened_ = true;
  giving_up_.opened();
  said_taken_over_ = false;
  return elsewhere_.exchange(false);
}

HomeKeeper::TakeOver HomeKeeper::take_over(const std::string& who, bool holder_is_dead) {
  TakeOver result;
  {
    const storage::Store* const store = store_.current();
    result.was_here = store != nullptr && store->taken_over().empty();
    if (result.was_here) return result;
  }
  const std::string what = "takeover of store " + storage::quoted(settings_.name) + ": ";
  if (!is_beyond_)
    throw MemoryError{Errc::unsupported,
                      what + "its image is a file of this machine: stop whoever has it, and open the store"};
  const auto began = std::chrono::steady_clock::now();
  const auto control = storage::home_control_of(file_system_, settings_.path);
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
  giving_up_.take_back();
  open_();
  result.took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began);
  said_standing_by_.clear();
  return result;
}

// Writers that can go on elsewhere come back before they are told that it is over.
void HomeKeeper::leave(storage::Store& store, const std::string& why) {
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
void HomeKeeper::consider_giving_up(storage::Store& store) {
  const std::string who = store.wanted_by();
  if (who.empty()) return;
  const auto now = GivingUp::Clock::now();
  if (!giving_up_.is_due(store.figures(base::monotonic_ms()).checkpoint_lag_bytes, now))
    return store.begin_checkpoint();
  giving_up_.begin(who, now);
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

void HomeKeeper::try_standing_in() {
  if (ended_ || giving_up_.is_left_to_others(GivingUp::Clock::now())) return;
  if (settings_.abandon_recovery != nullptr && *settings_.abandon_recovery) return;
  std::string why;
  try {
    open_();
    said_standing_by_.clear();
    watch_.end();
    return;
  } catch (const ServedElsewhere& error) {
    why = error.what();
    if (why != said_standing_by_) {
      watch_.end();
      log_.info("standing by", {{"store", settings_.name}, {"path", settings_.path}, {"reason", why}});
    }
  } catch (const MemoryError& error) {
    why = error.what();
    if (why != said_standing_by_)
      log_.warn("store not taken", {{"store", settings_.name}, {"path", settings_.path}, {"error", why}});
  }
  said_standing_by_ = std::move(why);
  watch_.begin();
}

// After a failed sync nothing is written any more until an opening has looked at what is there. In a pool that is as
// safe at once as after a restart of the daemon: whoever opens it has a later epoch. Reads go on until there is room.
void HomeKeeper::consider_opening_anew(storage::Store& store) {
  if (!room_.has_come(file_system_, settings_.path, settings_.file_mode, HomeRoom::Clock::now())) return;
  leave(store, "its log could not be written; the store is opened anew");
  is_broken_ = false;
  log_.info("store opened anew", {{"store", settings_.name}, {"path", settings_.path}});
  static_cast<void>(say_taken_over(store));
  elsewhere_ = false;
  try {
    open_();
  } catch (const MemoryError& error) {
    // Whoever opens a session tries again.
    log_.warn("store not taken", {{"store", settings_.name}, {"path", settings_.path}, {"error", error.what()}});
  }
}

void HomeKeeper::look() {
  storage::Store* const store = store_.current();
  if (store != nullptr && store->taken_over().empty()) {
    if (is_broken_) consider_opening_anew(*store);
    if (store->taken_over().empty()) consider_giving_up(*store);
    return;
  }
  if (settings_.standby) try_standing_in();
}

bool HomeKeeper::wants_look() {
  if (!is_beyond_) return false;
  bool wants = settings_.standby && store_.current() == nullptr;
  store_.look([&](storage::Store& store) {
    wants = store.taken_over().empty() ? is_broken_ || !store.wanted_by().empty() : settings_.standby;
  });
  return wants;
}

}  // namespace pageserver::server
