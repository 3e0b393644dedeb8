// From a URI to the options of a remote session.
#pragma once

#include <pageserver/remote_provider.hpp>

#include "client/uri/uri.hpp"

namespace pageserver::client {

/// What `uri`, which is_remote(), asks for.
RemoteOptions remote_options(Uri uri);

}  // namespace pageserver::client
