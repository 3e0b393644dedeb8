// What calls of the C interface answer: each struct of the header with what its pointers point to.
#pragma once

#include <deque>
#include <list>
#include <optional>
#include <string>
#include <vector>

#include <pageserver/pageserver.h>
#include <pageserver/administration.hpp>
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

struct RecoveryResult : ps_recovery {
  RecoveryResult(Recovery found, bool with_warning);
  RecoveryResult(const RecoveryResult&) = delete;
  RecoveryResult& operator=(const RecoveryResult&) = delete;

private:
  Recovery kept_;
  std::vector<const char*> names_;
};

ps_load load_of(const Load& load) noexcept;

struct LoadResult : ps_load {
  explicit LoadResult(const Load& found) : ps_load{load_of(found)} {}
};

struct IdentityResult : ps_identity {
  explicit IdentityResult(WhoAmI found);
  IdentityResult(const IdentityResult&) = delete;
  IdentityResult& operator=(const IdentityResult&) = delete;

private:
  WhoAmI kept_;
  std::string rights_text_;
};

struct SessionResult : ps_session_report {
  explicit SessionResult(SessionReport found);
  SessionResult(const SessionResult&) = delete;
  SessionResult& operator=(const SessionResult&) = delete;

private:
  SessionReport kept_;
};

struct SessionsResult : ps_sessions {
  explicit SessionsResult(std::vector<SessionReport> found);
  SessionsResult(const SessionsResult&) = delete;
  SessionsResult& operator=(const SessionsResult&) = delete;

private:
  std::list<SessionResult> kept_;
  std::vector<const ps_session_report*> pointers_;
};

struct KickedResult : ps_kicked {
  explicit KickedResult(Kicked found);
  KickedResult(const KickedResult&) = delete;
  KickedResult& operator=(const KickedResult&) = delete;

private:
  SessionResult kept_;
};

struct StatResult : ps_stat {
  explicit StatResult(Stat found);
  StatResult(const StatResult&) = delete;
  StatResult& operator=(const StatResult&) = delete;

private:
  Stat kept_;
  std::optional<HolderResult> kept_writer_;
  std::optional<HolderResult> kept_oldest_;
  std::optional<ps_load> kept_load_;
  std::optional<ps_home> kept_home_;
  std::optional<RecoveryResult> kept_recovery_;
};

struct StoresResult : ps_stores {
  explicit StoresResult(std::vector<ListedStore> found);
  StoresResult(const StoresResult&) = delete;
  StoresResult& operator=(const StoresResult&) = delete;

private:
  std::vector<ListedStore> kept_;
  std::deque<RecoveryResult> recoveries_;
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
