// Our client library as the load generator's target: what programs that use it get.
#pragma once

#include <memory>
#include <string>

#include "tests/bench/target.hpp"

namespace pageserver::bench {

/// One blocking call after the other on a Session opened with `uri`.
std::unique_ptr<Target> connect_library(const std::string& uri);

/// Many requests in flight on an AsyncSession opened with `uri`.
std::unique_ptr<Target> connect_library_async(const std::string& uri);

}  // namespace pageserver::bench
