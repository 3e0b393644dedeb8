// From a URI to what it names.
#pragma once

#include <memory>

#include <pageserver/remote_provider.hpp>

#include "client/uri/uri.hpp"

namespace pageserver::client {

/// What `uri`, which is_remote(), asks for.
RemoteOptions remote_options(Uri uri);

/// The embedded store of a URI of the scheme store. Throws what storage::open_embedded_store() does.
std::unique_ptr<Session> open_embedded(const Uri& uri);

}  // namespace pageserver::client
