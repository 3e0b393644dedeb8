// What all TLS connections of one side share: its certificate and key, and whom it believes. TLS 1.3 and nothing older.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

struct ssl_ctx_st;
struct x509_st;

namespace pageserver::tls {

/// What both sides say that they speak (ALPN).
inline constexpr std::string_view application_protocol = "pageserver/1";

/// Contents of PEM files, not their names; empty: there is none.
struct Credentials {
  Credentials() = default;
  Credentials(const Credentials&) = default;
  Credentials& operator=(const Credentials&) = default;
  ~Credentials();  ///< leaves no key behind in memory

  std::string certificate;  ///< the own one first, then those between it and the authority
  std::string key;
  /// Authorities that are believed. Lists of what they revoked, where there are some, are obeyed.
  std::string authorities;
};

/// Never changes once made. No session is resumed: each connection verifies anew.
///
/// Threads: any.
class Context {
public:
  /// Of the side that listens. Where there are authorities, clients must have a certificate by one of them. Throws
  /// std::runtime_error that says which of the three is wrong, and why.
  static std::shared_ptr<const Context> of_server(const Credentials& credentials);
  /// Of the side that connects; the system's authorities where none are given. Verifies chain and name, always.
  static std::shared_ptr<const Context> of_client(const Credentials& credentials);
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context();

  ssl_ctx_st* get() const noexcept { return context_; }
  /// When the first of the own certificates that ends does so, in seconds since 1970; INT64_MAX without one.
  std::int64_t not_after() const noexcept { return not_after_; }
  bool is_server() const noexcept { return is_server_; }

private:
  explicit Context(bool is_server);
  void take_own(const Credentials& credentials);
  void take_authorities(const Credentials& credentials);

  /// Of the own chain.
  void note_end(const x509_st& certificate) noexcept;

  ssl_ctx_st* context_;
  bool is_server_;
  std::int64_t not_after_ = INT64_MAX;
};

}  // namespace pageserver::tls
