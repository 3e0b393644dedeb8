// What calls of the C interface answer: each struct of the header with what its pointers point to.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <pageserver/pageserver.h>
#include <pageserver/session.hpp>

#include "client/wire/store_list.hpp"

namespace pageserver::c {

ps_image_version version_of(const Version& version) noexcept;

/// `until`: what ps_ranges calls `described_until`.
struct RangesResult : ps_ranges {
  RangesResult(std::uint64_t until, const std::vector<ByteRange>& found);
  RangesResult(const RangesResult&) = delete;
  RangesResult& operator=(const RangesResult&) = delete;

private:
  std::vector<ps_range> kept_;
};

struct RefreshedResult : ps_refreshed {
  explicit RefreshedResult(const Refreshed& found);
  RefreshedResult(const RefreshedResult&) = delete;
  RefreshedResult& operator=(const RefreshedResult&) = delete;

private:
  std::vector<ps_range> kept_;
};

struct HolderResult : ps_holder {
  explicit HolderResult(HolderStat found);
  HolderResult(const HolderResult&) = delete;
  HolderResult& operator=(const HolderResult&) = delete;

private:
  HolderStat kept_;
};

struct StatResult : ps_stat {
  explicit StatResult(Stat found);
  StatResult(const StatResult&) = delete;
  StatResult& operator=(const StatResult&) = delete;

private:
  Stat kept_;
  std::optional<HolderResult> kept_writer_;
  std::optional<HolderResult> kept_oldest_;
};

struct StoresResult : ps_stores {
  explicit StoresResult(std::vector<client::ListedStore> found);
  StoresResult(const StoresResult&) = delete;
  StoresResult& operator=(const StoresResult&) = delete;

private:
  std::vector<client::ListedStore> kept_;
  std::vector<ps_store> entries_;
  std::vector<const ps_store*> pointers_;
};

struct DaemonInfoResult : ps_daemon_info {
  explicit DaemonInfoResult(std::string server_name);
  DaemonInfoResult(const DaemonInfoResult&) = delete;
  DaemonInfoResult& operator=(const DaemonInfoResult&) = delete;

private:
  std::string kept_;
};

}  // namespace pageserver::c
