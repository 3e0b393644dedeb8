// What a test says where the machine does not have what it needs.
#pragma once

#include <iostream>
#include <string_view>

namespace pageserver::test {

/// Say it before the first assertion, then return: ctest counts the test as skipped (pageserver_test() in
/// tests/CMakeLists.txt looks for this word), and the reason is in its output.
inline void skip(std::string_view reason) { std::cout << "SKIPPED: " << reason << std::endl; }

}  // namespace pageserver::test
