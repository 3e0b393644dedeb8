#include "client/uri/endpoint.hpp"

#include "client/uri/uri_text.hpp"

namespace pageserver::client {
namespace {

std::string authority(const std::string& host, std::uint16_t port) {
  const bool is_address = host.find(':') != std::string::npos;
  return (is_address ? "[" + percent_encode(host, UriPart::address) + "]" : percent_encode(host, UriPart::segment)) +
         ":" + std::to_string(port);
}

}  // namespace

std::vector<Endpoint> Endpoint::each() const {
  std::vector<Endpoint> all{*this};
  all.front().others.clear();
  for (const OtherHost& other : others) {
    all.push_back(all.front());
    all.back().host = other.host;
    all.back().port = other.port;
  }
  return all;
}

std::string Endpoint::uri(std::string_view store) const {
  std::string text;
  if (is_unix()) {
    text = "pageserver+unix:///" + percent_encode(store, UriPart::segment);
    return text + "?socket=" + percent_encode(socket_path, UriPart::query_value);
  }
  text = tls ? "pageservers://" : "pageserver://";
  text += authority(host, port);
  for (const OtherHost& other : others) text += "," + authority(other.host, other.port);
  if (!store.empty()) text += "/" + percent_encode(store, UriPart::segment);
  return text;
}

}  // namespace pageserver::client
