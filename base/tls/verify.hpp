// The certificate that a peer has shown, verified again when what is believed has changed, or time has passed.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/tls/context.hpp"

struct ssl_st;
struct x509_st;
struct stack_st_X509;

namespace pageserver::tls {

/// Shares its certificates with the connection, and may outlive it.
///
/// Threads: any.
class PeerChain {
public:
  /// Of a client whose handshake is done; null where it has shown no certificate. Throws std::bad_alloc.
  static std::shared_ptr<PeerChain> of(ssl_st* connection);
  PeerChain(const PeerChain&) = delete;
  PeerChain& operator=(const PeerChain&) = delete;
  ~PeerChain();

  /// Why `context`, of the side that listens, would not let this client in now; empty: it would. But a list of what
  /// was revoked that is merely out of date says nothing against who came before. Throws std::bad_alloc.
  std::string fault(const Context& context);
  /// When the first certificate between the client and the authority that was found last ends, in seconds since 1970.
  std::int64_t not_after() const noexcept { return not_after_; }

private:
  PeerChain() = default;
  void note_end(const stack_st_X509* verified) noexcept;

  x509_st* own_ = nullptr;
  stack_st_X509* sent_ = nullptr;  ///< what the client has sent to be verified with; null: nothing
  std::atomic<std::int64_t> not_after_{INT64_MAX};
};

}  // namespace pageserver::tls
