#include <pageserver/open.hpp>

#include <string>
#include <utility>

#include <pageserver/error.hpp>
#include <pageserver/file_provider.hpp>
#include <pageserver/heap_provider.hpp>
#include <pageserver/remote_provider.hpp>

#include "client/open_uri.hpp"
#include "client/uri/uri.hpp"
#include "storage/embedded/embedded_store.hpp"

namespace pageserver {

RemoteOptions client::remote_options(Uri uri) {
  RemoteOptions options;
  options.host = std::move(uri.endpoint.host);
  options.port = uri.endpoint.port;
  options.socket_path = std::move(uri.endpoint.socket_path);
  options.store = std::move(uri.store);
  options.access = uri.access;
  options.view = uri.view;
  options.publish = uri.publish;
  options.wait_ms = uri.wait_ms;
  options.name = std::move(uri.name);
  options.connect_timeout = uri.connect_timeout;
  options.request_timeout = uri.request_timeout;
  options.poll_us = uri.poll_us;
  options.token_file = std::move(uri.token_file);
  options.cache_bytes = uri.cache_bytes;
  options.resume = uri.resume;
  options.shared_memory = uri.ring;
  options.faults = std::move(uri.faults);
  options.tls = uri.endpoint.tls;
  options.tls_ca = std::move(uri.endpoint.tls_ca);
  options.tls_certificate = std::move(uri.endpoint.tls_certificate);
  options.tls_key = std::move(uri.endpoint.tls_key);
  options.tls_name = std::move(uri.endpoint.tls_name);
  for (OtherHost& other : uri.endpoint.others) options.other_hosts.push_back({std::move(other.host), other.port});
  return options;
}

std::unique_ptr<Session> client::open_embedded(const Uri& uri) {
  storage::EmbeddedOptions options;
  options.access = uri.access;
  options.view = uri.view;
  options.publish = uri.publish;
  options.wait_ms = uri.wait_ms;
  options.name = uri.name;
  return storage::open_embedded_store(uri.path, options);
}

namespace {

using client::Scheme;
using client::Uri;

std::unique_ptr<Session> open_session_at(Uri uri, std::string_view text) {
  switch (uri.scheme) {
    case Scheme::tcp:
    case Scheme::unix_socket: return std::make_unique<RemoteProvider>(client::remote_options(std::move(uri)));
    case Scheme::store: return client::open_embedded(uri);
    case Scheme::heap:
    case Scheme::file: break;
  }
  throw MemoryError{Errc::unsupported, "open_session \"" + std::string{text} +
                                           "\": a plain file or heap image has no sessions; use open(), or a URI " +
                                           "with the scheme pageserver, pageserver+unix or store"};
}

}  // namespace

std::unique_ptr<MemoryProvider> open(std::string_view uri) {
  auto parsed = client::parse_uri(uri);
  if (parsed.scheme == Scheme::heap) return std::make_unique<HeapProvider>();
  if (parsed.scheme == Scheme::file) return std::make_unique<FileProvider>(parsed.path, parsed.access);
  return open_session_at(std::move(parsed), uri);
}

std::unique_ptr<Session> open_session(std::string_view uri) { return open_session_at(client::parse_uri(uri), uri); }

}  // namespace pageserver
