// What a user writes first: an image in the process, then in a file, then errors told apart by their codes.
#include <pageserver/async_session.hpp>
#include <pageserver/error.hpp>
#include <pageserver/open.hpp>

#include <array>
#include <iostream>

int main(int, char** argv) {
  for (const std::string uri : {std::string{"heap:"}, "file:" + std::string{argv[1]}}) {
    const auto image = pageserver::open(uri);
    image->grow(1);
    std::array<std::byte, 4> bytes{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
    image->write(70, bytes);
    image->flush();
    try {
      image->read(70000, bytes);
      return 1;
    } catch (const std::system_error& error) {
      if (error.code() != pageserver::Errc::out_of_bounds) return 2;
      std::cout << uri << ": " << error.what() << '\n';
    }
  }
  try {
    const pageserver::AsyncSession session{"heap:"};
    return 3;
  } catch (const std::system_error& error) {
    if (error.code() != pageserver::Errc::unsupported) return 4;
  }
  return 0;
}
