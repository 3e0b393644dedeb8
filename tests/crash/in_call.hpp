// Marks a session as being called, so that nobody else calls it in the middle of the call.
#pragma once

namespace pageserver::test {

/// Sets `flag` for as long as it lives.
class InCall {
public:
  explicit InCall(bool& flag) : flag_(flag) { flag_ = true; }
  ~InCall() { flag_ = false; }
  InCall(const InCall&) = delete;
  InCall& operator=(const InCall&) = delete;

private:
  bool& flag_;
};

}  // namespace pageserver::test
