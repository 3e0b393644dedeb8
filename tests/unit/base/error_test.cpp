#include <cstring>
#include <system_error>

#include "tests/unit/storage/storage_test.hpp"

namespace pageserver::test {
namespace {

// What a second copy of the library in the same process brings along.
class OtherCopy final : public std::error_category {
public:
  const char* name() const noexcept override { return "pageserver"; }
  std::string message(int) const override { return "from the other copy"; }
};

class Stranger final : public std::error_category {
public:
  const char* name() const noexcept override { return "stranger"; }
  std::string message(int) const override { return "unrelated"; }
};

}  // namespace

TEST_CASE("a MemoryError is a system_error whose text is the message alone") {
  const MemoryError error{Errc::busy, "open x: locked"};
  const std::system_error& base = error;
  CHECK(std::strcmp(base.what(), "open x: locked") == 0);
  CHECK(error.code() == Errc::busy);
  CHECK(error.code() != Errc::lease_lost);
  CHECK(error.errc() == Errc::busy);
  CHECK(base.code().category().name() == std::string{"pageserver"});
  CHECK(base.code().message() == "busy");
}

TEST_CASE("codes of two copies of the category are equal by name and value") {
  const OtherCopy other;
  const std::error_code code{static_cast<int>(Errc::out_of_bounds), other};
  CHECK(code == Errc::out_of_bounds);
  CHECK(code != Errc::busy);
  CHECK(code != make_error_code(Errc::out_of_bounds));  // why Errc is a condition and not a code
}

TEST_CASE("a code of another library is not ours, whatever its number") {
  const Stranger stranger;
  CHECK(std::error_code{2, stranger} != Errc::provider_error);
  CHECK(std::error_code{2, std::generic_category()} != Errc::provider_error);
}

TEST_CASE("every code has the name that it is spelled with") {
  CHECK(to_string(Errc::out_of_bounds) == "out_of_bounds");
  CHECK(to_string(Errc::damaged) == "damaged");
  CHECK(to_string(static_cast<Errc>(999)) == "unknown error");
  for (int value = 1; value <= static_cast<int>(Errc::damaged); ++value) {
    CHECK(to_string(static_cast<Errc>(value)) != "unknown error");
  }
}

}  // namespace pageserver::test
