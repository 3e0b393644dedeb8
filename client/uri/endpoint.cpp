#include "client/uri/endpoint.hpp"

#include "client/uri/uri_text.hpp"

namespace pageserver::client {

std::string Endpoint::uri(std::string_view store) const {
  std::string text;
  if (is_unix()) {
    text = "pageserver+unix:///" + percent_encode(store, UriPart::segment);
    return text + "?socket=" + percent_encode(socket_path, UriPart::query_value);
  }
  text = tls ? "pageservers://" : "pageserver://";
  if (host.find(':') != std::string::npos)
    text += "[" + percent_encode(host, UriPart::address) + "]";
  else
    text += percent_encode(host, UriPart::segment);
  text += ":" + std::to_string(port);
  if (!store.empty()) text += "/" + percent_encode(store, UriPart::segment);
  return text;
}

}  // namespace pageserver::client
