// Coroutines of one thread that need no memory while they wait. Those of Asio 1.22 end the program when what they wait
// for can't be begun for want of memory; here that is an exception of the coroutine that waits.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <new>
#include <system_error>
#include <utility>

namespace pageserver::server {

/// A part of a loop. Runs when another coroutine awaits it, and throws there what it threw.
class Coroutine {
public:
  struct promise_type {
    struct Final {
      bool await_ready() noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> ended) noexcept {
        return ended.promise().awaiting;
      }
      void await_resume() noexcept {}
    };
    Coroutine get_return_object() { return Coroutine(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    Final final_suspend() noexcept { return {}; }
    void unhandled_exception() noexcept { problem = std::current_exception(); }
    void return_void() noexcept {}

    std::coroutine_handle<> awaiting;
    std::exception_ptr problem;
  };

  Coroutine(Coroutine&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Coroutine& operator=(Coroutine&&) = delete;
  ~Coroutine() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiting) noexcept {
    handle_.promise().awaiting = awaiting;
    return handle_;
  }
  void await_resume() const {
    if (handle_.promise().problem) std::rethrow_exception(handle_.promise().problem);
  }

private:
  explicit Coroutine(std::coroutine_handle<promise_type> handle) noexcept : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

/// The whole of a loop. Suspended until Loop::begin(); its frame goes when it ends, or with the handler it waits for.
struct LoopCoroutine {
  struct promise_type {
    LoopCoroutine get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void unhandled_exception() { throw; }
    void return_void() noexcept {}
  };
  std::coroutine_handle<> handle;
};

/// Where a loop stands while it waits: for one thing at a time, so that there is room for one handler.
class Loop {
public:
  template <class T>
  struct Allocator {
    using value_type = T;
    explicit Allocator(Loop* owner) noexcept : loop(owner) {}
    template <class Other>
    Allocator(const Allocator<Other>& other) noexcept : loop(other.loop) {}
    T* allocate(std::size_t count) const {
      static_assert(sizeof(T) <= room_bytes);
      if (loop->taken_ || count != 1) throw std::bad_alloc();
      loop->taken_ = true;
      return reinterpret_cast<T*>(loop->room_);
    }
    void deallocate(T*, std::size_t) const noexcept { loop->taken_ = false; }
    template <class Other>
    bool operator==(const Allocator<Other>& other) const noexcept {
      return loop == other.loop;
    }
    Loop* loop;
  };

  /// Says that it has come. When it is dropped instead, because its event loop is, the coroutines are as well.
  class Handler {
  public:
    using allocator_type = Allocator<std::byte>;
    explicit Handler(Loop& loop) noexcept : loop_(&loop) {}
    Handler(Handler&& other) noexcept : loop_(std::exchange(other.loop_, nullptr)) {}
    Handler& operator=(Handler&&) = delete;
    ~Handler() {
      if (loop_ != nullptr && std::exchange(loop_->waits_, false)) loop_->whole_.destroy();
    }
    allocator_type get_allocator() const noexcept { return allocator_type(loop_); }
    void operator()(const std::error_code& = {}) {
      Loop& loop = *std::exchange(loop_, nullptr);
      loop.came_(loop.owner_);
    }

  private:
    Loop* loop_;
  };

  /// `begin(Handler)` begins what is waited for. What it throws is thrown where the coroutine awaits.
  template <class Begin>
  struct Wait {
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> innermost) { loop.suspend(innermost, begin); }
    void await_resume() const noexcept {}
    Loop& loop;
    const Begin& begin;
  };

  /// `came(owner)` is called when what was waited for has come: it calls resume(), when it is the loop's turn.
  Loop(void* owner, void (*came)(void* owner)) noexcept : owner_(owner), came_(came) {}
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Once. What `first` throws leaves no coroutine behind.
  template <class Begin>
  void begin(LoopCoroutine coroutine, const Begin& first) {
    whole_ = coroutine.handle;
    try {
      suspend(whole_, first);
    } catch (...) {
      whole_.destroy();
      throw;
    }
  }
  void resume() {
    waits_ = false;
    innermost_.resume();
  }
  template <class Begin>
  Wait<Begin> wait(const Begin& begin) noexcept {
    return Wait<Begin>{*this, begin};
  }

private:
  template <class Begin>
  void suspend(std::coroutine_handle<> innermost, const Begin& begin) {
    innermost_ = innermost;
    begin(Handler(*this));
    waits_ = true;  // from here on the handler owns the coroutines
  }

  /// What Asio needs for the largest of what is waited for: each connection has it.
  static constexpr std::size_t room_bytes = 80;
  void* const owner_;
  void (*const came_)(void*);
  std::coroutine_handle<> whole_;
  std::coroutine_handle<> innermost_;
  bool waits_ = false;
  bool taken_ = false;
  alignas(std::max_align_t) std::byte room_[room_bytes];
};

}  // namespace pageserver::server
