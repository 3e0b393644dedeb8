// An embedded store (`store:PATH`) as an image.
#pragma once

#include "client/pagectl/image.hpp"

namespace pageserver::pagectl {

std::unique_ptr<Image> open_session_image(const std::string& name, const client::Uri& uri, bool view_given,
                                          bool publish_given, const OpenMode& mode);

}  // namespace pageserver::pagectl
