// One HTTP connection: a request comes, its answer goes, and it ends. It lives on one worker, holds no thread while a
// peer is slow, and has a deadline for each of the three.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/unique_fd.hpp"
#include "server/http/request.hpp"
#include "server/runtime/worker.hpp"

namespace pageserver::server::http {

struct Response {
  unsigned code = 200;
  std::string_view content_type = "text/plain; charset=utf-8";  ///< a constant
  std::string body;
  std::string fields = {};  ///< further lines of the head, each with its end
};

class Exchange : public std::enable_shared_from_this<Exchange> {
public:
  /// How long a peer may take to send its request, to take the answer, and to close.
  struct Patience {
    std::chrono::milliseconds request{5000};
    std::chrono::milliseconds answer{10000};
    std::chrono::milliseconds end{1000};
  };
  /// Answers once by `answer`, inside the call or later; any thread. What `request` points to is gone afterwards.
  using Answer = std::function<void(Response response)>;
  using Handler = std::function<void(const Request& request, Answer answer)>;

  /// All on the worker, which outlives it. `ended` is called once; so is `code`, before the answer goes.
  Exchange(Worker& worker, UniqueFd socket, Patience patience);
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  ~Exchange();

  struct Calls {
    Handler handle;
    std::function<void(unsigned code)> answered;
    std::function<void(Exchange& exchange, bool in_order)> ended;
  };
  void start(Calls calls);
  /// Its request has not come yet: of several that wait, the oldest may have to go for another one.
  bool awaits_request() const noexcept { return state_ == State::request; }
  /// Ends at once.
  void drop();

private:
  struct Io;
  enum class State : std::uint8_t { request, handling, answer, end, over };

  void wait_for_input();
  void input_came();
  void take_input();
  void respond(Response response);
  void send();
  void await_end();
  void set_deadline(std::chrono::milliseconds from_now);
  void finish(bool in_order);

  Worker& worker_;
  const Patience patience_;
  Calls calls_;
  State state_ = State::request;
  bool head_only_ = false;
  std::string input_;
  std::string output_;
  std::size_t sent_ = 0;
  std::unique_ptr<Io> io_;
};

}  // namespace pageserver::server::http
