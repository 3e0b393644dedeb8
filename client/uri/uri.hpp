// URIs as open.hpp documents them, to values. Pure: no file, no socket, no name resolution.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <pageserver/session.hpp>

#include "client/uri/endpoint.hpp"

namespace pageserver::client {

enum class Scheme : std::uint8_t { heap, file, store, tcp, unix_socket };

struct Uri {
  Scheme scheme = Scheme::file;
  std::string path;   ///< file and store: where the image is
  Endpoint endpoint;  ///< tcp and unix_socket
  std::string store;  ///< tcp and unix_socket: the store's name, empty in the form that names a server only
  Access access = Access::write;
  View view = View::live;
  Publish publish = Publish::on_write;
  std::uint32_t wait_ms = 0;
  std::string name;  ///< empty: the library's own choice
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds request_timeout{60'000};
  std::optional<std::uint32_t> poll_us;  ///< empty: auto
  std::uint64_t cache_bytes = 0;
  std::chrono::seconds resume{0};
  std::string token_file;
  bool ring = true;    ///< transport=auto
  std::string faults;  ///< as the protocol has them; not looked at here
  // The text had the key.
  bool access_given = false;
  bool view_given = false;
  bool publish_given = false;
  bool request_timeout_given = false;

  bool is_remote() const { return scheme == Scheme::tcp || scheme == Scheme::unix_socket; }
};

/// What a URI has to name.
enum class UriTarget : std::uint8_t {
  image,   ///< an image: a remote URI needs a store
  server,  ///< a daemon: `pageserver://HOST[:PORT]` or `pageserver+unix:///?socket=PATH`, without a store
};

/// Throws MemoryError invalid_argument that quotes the wrong part and says what is expected there. `default_access`
/// holds where the text has no `access=`; the library's own default is write, pagectl's is read.
Uri parse_uri(std::string_view text, Access default_access = Access::write, UriTarget target = UriTarget::image);

}  // namespace pageserver::client
