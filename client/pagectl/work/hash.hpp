// XXH3-64 of bytes and of whole images.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "client/pagectl/images/image.hpp"
#include "client/pagectl/terminal/progress.hpp"

namespace pageserver::pagectl {

std::uint64_t hash_bytes(std::span<const std::byte> bytes);

/// The hash of the image's bytes. Ranges that are known to be zero are not read.
std::uint64_t hash_image(Image& image, Progress& progress);

}  // namespace pageserver::pagectl
