// What a home tells of a store that another process has: who that is, and that it may have come free.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "base/mutex.hpp"
#include "storage/file/home.hpp"

namespace pageserver::server {

/// One thread at a time, but for hear_nothing().
class HomeWatch {
public:
  using Control = std::shared_ptr<storage::HomeControl>;

  /// `find`: the home's control over the store, or null. `news` runs on threads of the home, and must not wait.
  HomeWatch(std::function<Control()> find, std::function<void()> news)
      : find_{std::move(find)}, hearing_{std::make_shared<Hearing>(std::move(news))} {}
  HomeWatch(const HomeWatch&) = delete;
  HomeWatch& operator=(const HomeWatch&) = delete;
  ~HomeWatch() { hear_nothing(); }

  /// Found once, and kept until forget().
  storage::HomeControl* control() {
    if (control_ == nullptr) control_ = find_();
    return control_.get();
  }
  void forget() noexcept { control_.reset(); }

  /// From now on `news` runs when the lock may have come free; nothing where no control was found, or it watches
  /// already.
  void begin() {
    if (watch_ != nullptr || control_ == nullptr) return;
    watch_ = control_->watch([hearing = hearing_] { hearing->tell(); });
  }
  void end() noexcept { watch_.reset(); }
  /// Any thread: `news` does not run any more once this returns. What the home still says is nobody's.
  void hear_nothing() noexcept { hearing_->end(); }

private:
  class Hearing {
  public:
    explicit Hearing(std::function<void()> news) : news_{std::move(news)} {}
    void tell() {
      const Lock lock{mutex_};
      if (hears_) news_();
    }
    void end() noexcept {
      const Lock lock{mutex_};
      hears_ = false;
    }

  private:
    Mutex mutex_;
    const std::function<void()> news_;
    bool hears_ PAGESERVER_GUARDED_BY(mutex_) = true;
  };

  const std::function<Control()> find_;
  const std::shared_ptr<Hearing> hearing_;  ///< outlives this where the home still tells of something
  Control control_;
  std::shared_ptr<void> watch_;
};

}  // namespace pageserver::server
