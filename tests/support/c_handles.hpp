// Handles and results of the C interface that close themselves. Link pageserver_c.
#pragma once

#include <memory>
#include <string>

#include <pageserver/pageserver.h>

#include "tests/support/catch.hpp"

namespace pageserver::test {

template <auto release>
struct Release {
  template <class T>
  void operator()(T* pointer) const {
    release(pointer);
  }
};

using CSession = std::unique_ptr<ps_session, Release<ps_session_close>>;
using CDaemon = std::unique_ptr<ps_daemon, Release<ps_daemon_close>>;
using CAsync = std::unique_ptr<ps_async, Release<ps_async_close>>;
using CStat = std::unique_ptr<const ps_stat, Release<ps_stat_free>>;
using CRanges = std::unique_ptr<const ps_ranges, Release<ps_ranges_free>>;
using CRefreshed = std::unique_ptr<const ps_refreshed, Release<ps_refreshed_free>>;
using CStores = std::unique_ptr<const ps_stores, Release<ps_stores_free>>;
using CHolder = std::unique_ptr<const ps_holder, Release<ps_holder_free>>;

/// The struct, as a caller sets it up.
inline ps_error no_error() { return PS_ERROR_INIT; }

inline CSession c_session(const std::string& uri, const ps_options* options = nullptr) {
  ps_error error = no_error();
  ps_session* session = nullptr;
  const int code = ps_session_open(uri.c_str(), options, &session, &error);
  INFO(error.text);
  REQUIRE(code == PS_OK);
  return CSession{session};
}

inline CDaemon c_daemon(const std::string& uri, const ps_options* options = nullptr) {
  ps_error error = no_error();
  ps_daemon* daemon = nullptr;
  const int code = ps_daemon_open(uri.c_str(), options, &daemon, &error);
  INFO(error.text);
  REQUIRE(code == PS_OK);
  return CDaemon{daemon};
}

inline CAsync c_async(const std::string& uri, const ps_options* options = nullptr) {
  ps_error error = no_error();
  ps_async* async = nullptr;
  const int code = ps_async_open(uri.c_str(), options, &async, &error);
  INFO(error.text);
  REQUIRE(code == PS_OK);
  return CAsync{async};
}

}  // namespace pageserver::test
