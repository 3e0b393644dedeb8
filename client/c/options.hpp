// A URI and the options beside it, as one thing.
#pragma once

#include <string>
#include <string_view>

#include <pageserver/pageserver.h>

#include "client/uri/uri.hpp"

namespace pageserver::c {

struct Target {
  client::Uri uri;  ///< with what the options say in it
  std::string client_name;
  std::string token;  ///< as the option has it; not what a file or the environment says
};

/// Throws invalid_argument where the options can't be, or can't be with this URI. `function` is for its text.
Target target_of(const char* uri, const ps_options* options, client::UriTarget kind, std::string_view function);

int access_of(Access access) noexcept;
int view_of(View view) noexcept;
int publish_of(Publish publish) noexcept;

}  // namespace pageserver::c
