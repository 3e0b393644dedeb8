// What happens when a request ends: its outcome, and the caller's function that gets it.
#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <optional>
#include <span>
#include <utility>

#include <pageserver/error.hpp>

#include "client/wire/operations.hpp"
#include "proto/codec.hpp"

namespace pageserver::client {

/// How a request ended: with its answer, or with an error. Texts and spans in the answer live until the completion
/// returns.
template <class Answer>
class Outcome {
public:
  explicit Outcome(const MemoryError& error) : error_{&error} {}
  explicit Outcome(const Answer& answer) : answer_{&answer} {}

  bool ok() const { return error_ == nullptr; }
  const MemoryError* error() const { return error_; }
  /// The answer; throws a copy of the error when there is none.
  const Answer& value() const {
    if (error_ != nullptr) throw MemoryError{*error_};
    return *answer_;
  }

private:
  const MemoryError* error_ = nullptr;
  const Answer* answer_ = nullptr;
};

struct RawAnswer {
  const MemoryError* error = nullptr;  // null: ok
  std::span<const std::byte> payload;
};
/// What could not be decoded, for which the connection ends.
struct Undecoded {
  std::optional<proto::Fault> fault;  // empty: there was no memory for it
};
/// Decodes an answer and calls the caller's `done` with the outcome; or only says that it can't be decoded.
using Completion = std::function<std::optional<Undecoded>(const RawAnswer&)>;

/// For `done(const Outcome<AnswerTo<Request>>&)`.
template <class Request, class F>
Completion completion_of(F done) {
  return [done = std::move(done)](const RawAnswer& raw) mutable -> std::optional<Undecoded> {
    using Answer = AnswerTo<Request>;
    if (raw.error != nullptr) {
      done(Outcome<Answer>{*raw.error});
      return std::nullopt;
    }
    Answer answer;
    try {
      if (auto fault = proto::decode(raw.payload, answer)) return Undecoded{std::move(fault)};
    } catch (const std::exception&) {
      return Undecoded{};
    }
    done(Outcome<Answer>{answer});
    return std::nullopt;
  };
}

/// As completion_of(), where an answer can be wrong in more than its form: `check(answer)` returns a fault then.
template <class Request, class Check, class F>
Completion checked_completion_of(Check check, F done) {
  return [check = std::move(check), done = std::move(done)](const RawAnswer& raw) mutable -> std::optional<Undecoded> {
    using Answer = AnswerTo<Request>;
    if (raw.error != nullptr) {
      done(Outcome<Answer>{*raw.error});
      return std::nullopt;
    }
    Answer answer;
    try {
      auto fault = proto::decode(raw.payload, answer);
      if (!fault) fault = check(std::as_const(answer));
      if (fault) return Undecoded{std::move(fault)};
    } catch (const std::exception&) {
      return Undecoded{};
    }
    done(Outcome<Answer>{answer});
    return std::nullopt;
  };
}

/// For `done(const Outcome<Value>&)` with what `convert(answer)` makes of the answer.
template <class Value, class Request, class Convert, class F>
Completion converted_completion_of(Convert convert, F done) {
  return
      [convert = std::move(convert), done = std::move(done)](const RawAnswer& raw) mutable -> std::optional<Undecoded> {
        if (raw.error != nullptr) {
          done(Outcome<Value>{*raw.error});
          return std::nullopt;
        }
        std::optional<Value> value;
        try {
          AnswerTo<Request> answer;
          if (auto fault = proto::decode(raw.payload, answer)) return Undecoded{std::move(fault)};
          value.emplace(convert(answer));
        } catch (const std::exception&) {
          return Undecoded{};
        }
        done(Outcome<Value>{*value});
        return std::nullopt;
      };
}

/// For a read, whose payload is where it was read to. That is no capture: small completions need no allocation.
template <class F>
Completion read_completion_of(F done) {
  return [done = std::move(done)](const RawAnswer& raw) mutable -> std::optional<Undecoded> {
    if (raw.error != nullptr)
      done(Outcome<proto::ReadAnswer>{*raw.error});
    else
      done(Outcome<proto::ReadAnswer>{proto::ReadAnswer{raw.payload}});
    return std::nullopt;
  };
}

/// Runs completions, and keeps what one threw until the connection's books are closed. While something is kept, no
/// other is run.
class CompletionRunner {
public:
  std::optional<Undecoded> run(const Completion& completion, const RawAnswer& raw) noexcept {
    running_ = true;
    std::optional<Undecoded> undecoded;
    try {
      undecoded = completion(raw);
    } catch (...) {
      thrown_ = std::current_exception();
    }
    running_ = false;
    return undecoded;
  }
  bool is_running() const noexcept { return running_; }
  bool has_thrown() const noexcept { return thrown_ != nullptr; }
  void rethrow() {
    if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
  }

private:
  bool running_ = false;
  std::exception_ptr thrown_;
};

}  // namespace pageserver::client
