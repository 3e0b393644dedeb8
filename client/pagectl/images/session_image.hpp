// A blocking session as an image: an embedded store (`store:PATH`), or a daemon's store with a cache.
#pragma once

#include "client/pagectl/images/image.hpp"

namespace pageserver::pagectl {

std::unique_ptr<Image> open_session_image(const std::string& name, const client::Uri& uri, const OpenMode& mode);

/// A remote URI with `cache_bytes`.
std::unique_ptr<Image> open_cached_image(const std::string& name, const client::Uri& uri, const OpenMode& mode);

}  // namespace pageserver::pagectl
