//! A session's calls where it has a cache: what it has to ask the daemon, and when.
//!
//! Two ways to write. Through (a writer with publish on_write): the daemon is told first, then the pages. Back
//! (on_flush, fork): the pages are told, and the daemon when the transaction is flushed or when room is needed. What it
//! is told then is private there, so that a flush still publishes all or nothing.

use crate::batch::Batch;
use crate::error::{Error, ErrorKind, Result};
use crate::page_cache::{is_zero, Buffer, PageCache, PAGE};
use crate::protocol::{Access, Operation, Publish, Refreshed, Request, FEATURE_COMMIT, FEATURE_ZERO, PAGE_SIZE};
use crate::session::Session;
use std::time::{Duration, Instant};

/// Far below the 10 ms after which nothing may be served that the daemon's notice forbids.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// Zeros shorter than this go out as bytes: a request of their own would cost as much.
const ZEROS_MIN: usize = 4096;

/// A part of a call that lies within one page.
struct Piece {
    page: u64,
    begin: usize,
    length: usize,
}

impl Piece {
    fn at(offset: u64, length: usize) -> Piece {
        let begin = (offset % PAGE_SIZE) as usize;
        Piece { page: offset / PAGE_SIZE, begin, length: length.min(PAGE - begin) }
    }
}

impl Session {
    /// True: written bytes stay here until they are flushed.
    pub(crate) fn writes_back(&self) -> bool {
        self.cache.is_some() && (self.options.access == Access::Fork || self.options.publish == Publish::OnFlush)
    }

    fn cache(&mut self) -> &mut PageCache {
        match &mut self.cache {
            Some(cache) => cache,
            None => unreachable!("called only where there is a cache"),
        }
    }

    fn sent_pages(&self) -> u64 {
        self.pages - self.unsent_pages
    }

    /// Sees what the daemon has said meanwhile, when the last look is too old, and fails as a request would.
    pub(crate) fn look_if_due(&mut self, operation: Operation) -> Result<()> {
        let cache = match &mut self.cache {
            Some(cache) => cache,
            None => return self.connection.look(operation),
        };
        let now = Instant::now();
        match cache.looked_at {
            Some(looked) if now.duration_since(looked) < LOOK_INTERVAL => self.connection.check_usable(operation),
            _ => {
                cache.looked_at = Some(now);
                self.connection.look(operation)
            }
        }
    }

    fn check_call(&mut self, operation: Operation, offset: u64, length: u64) -> Result<()> {
        self.look_if_due(operation)?;
        if !self.pages_known {
            self.ask_size()?;
        }
        self.check_bounds(operation, offset, length, self.pages)
    }

    pub(crate) fn grow_cached(&mut self, new_pages: u64) -> Result<u64> {
        self.check_call(Operation::GROW, 0, 0)?;
        let pages_max = self.opened.size_bytes_max / PAGE_SIZE;
        if self.pages > pages_max || new_pages > pages_max - self.pages {
            // The daemon has the words for it.
            if self.unsent_pages > 0 {
                self.send_dirty(&[], false)?;
            }
            return self.send_grow(new_pages);
        }
        self.unsent_pages += new_pages;
        self.pages += new_pages;
        Ok(self.pages - new_pages)
    }

    /// Takes in pages that the daemon has just grown, so that what is written there first is compared with zeros. Those
    /// that many pages would push out are worth more.
    pub(crate) fn know_zeros(&mut self, first: u64, count: u64) {
        if let Some(cache) = &mut self.cache {
            for number in first..first + count.min(cache.chunk_pages as u64) {
                if !cache.make_room(1, None) {
                    return;
                }
                let mut bytes = cache.take_buffer();
                bytes.fill(0);
                cache.add(number, bytes);
            }
        }
    }

    // What comes in.

    pub(crate) fn read_cached(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.check_call(Operation::READ, offset, buffer.len() as u64)?;
        if buffer.is_empty() {
            return Ok(());
        }
        let first = offset / PAGE_SIZE;
        let last = (offset + (buffer.len() as u64 - 1)) / PAGE_SIZE;
        if last - first >= self.cache().chunk_pages as u64 {
            return self.read_past_cache(offset, buffer);
        }
        let ahead = self.pages_ahead(first, last);
        let mut at = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let piece = Piece::at(at, rest.len());
            let cache = self.cache();
            let known = cache.find(piece.page).filter(|place| cache.page(*place).knows(piece.begin, piece.length));
            let place = match known {
                Some(place) => {
                    cache.hits += 1;
                    place
                }
                None => self.bring(piece.page, last + ahead)?,
            };
            let (part, behind) = rest.split_at_mut(piece.length);
            let bytes = &self.cache().page(place).bytes;
            part.copy_from_slice(&bytes[piece.begin..piece.begin + piece.length]);
            rest = behind;
            at += piece.length as u64;
        }
        Ok(())
    }

    /// How many pages behind this read are worth having, should it have to wait for the daemon: none, unless reads
    /// have gone forward for a while.
    fn pages_ahead(&mut self, first: u64, last: u64) -> u64 {
        let cache = self.cache();
        if last != cache.last_read {
            let forward = first == cache.last_read.wrapping_add(1) || first == cache.last_read;
            cache.forward = if forward { cache.forward + 1 } else { 0 };
            cache.last_read = last;
        }
        if cache.forward >= 2 {
            cache.chunk_pages as u64 - 1
        } else {
            0
        }
    }

    /// More than the cache should take in for one call: straight to the caller, and what is here over it.
    fn read_past_cache(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        // Bytes of pages that were grown and not sent are zeros; the others are asked for.
        let sent_bytes = self.sent_pages().saturating_mul(PAGE_SIZE);
        let there = sent_bytes.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let (asked, grown) = buffer.split_at_mut(there);
        grown.fill(0);
        let most = self.connection.request_bytes_max();
        let mut batch = Batch::new();
        let mut at = offset;
        for part in asked.chunks_mut(most) {
            let length = part.len() as u64;
            if let Err(error) = batch.read(&mut self.connection, at, part) {
                batch.drain(&mut self.connection);
                return Err(error);
            }
            at += length;
        }
        batch.finish(&mut self.connection)?;
        let end = offset + buffer.len() as u64;
        for place in self.cache().places_in(offset, buffer.len() as u64) {
            let page = self.cache().page(place);
            let page_at = page.number * PAGE_SIZE;
            let from = (page_at + page.known_begin as u64).max(offset);
            let until = (page_at + page.known_end as u64).min(end);
            if from < until {
                let part = &page.bytes[(from - page_at) as usize..(until - page_at) as usize];
                buffer[(from - offset) as usize..(until - offset) as usize].copy_from_slice(part);
            }
        }
        Ok(())
    }

    /// Makes a page complete, and fetches with it, in one round trip, those until `last` that are not here. Returns
    /// its place, which holds until the next call that makes room.
    fn bring(&mut self, number: u64, last: u64) -> Result<usize> {
        if number >= self.sent_pages() {
            self.make_room(1, None)?;
            let cache = self.cache();
            let mut bytes = cache.take_buffer();
            bytes.fill(0);
            return Ok(cache.add(number, bytes));
        }
        let last = last.max(number).min(self.sent_pages() - 1);
        let keep = self.cache().peek(number);
        self.make_room(1, keep)?;
        let mut loads: Vec<(u64, Buffer)> = Vec::new();
        for next in number..=last {
            let cache = self.cache();
            if next != number && (cache.peek(next).is_some() || !cache.make_room(1, keep)) {
                break;
            }
            loads.push((next, cache.take_buffer()));
        }
        let result = self.load(&mut loads);
        let cache = self.cache();
        let mut brought = Err(());
        let mut failed = None;
        for ((page, buffer), result) in loads.into_iter().zip(result) {
            match result {
                Err(error) => {
                    cache.give_back(buffer);
                    if page == number {
                        failed = Some(error);
                    }
                }
                Ok(()) if page == number => {
                    cache.misses += 1;
                    brought = Ok(Session::put(cache, page, buffer));
                }
                Ok(()) => {
                    cache.ahead += 1;
                    Session::put(cache, page, buffer);
                }
            }
        }
        match (brought, failed) {
            (Ok(place), _) => {
                // Those read ahead were added later, and shall go before it.
                let number = cache.page(place).number;
                Ok(cache.find(number).unwrap_or(place))
            }
            (Err(()), Some(error)) => Err(error),
            (Err(()), None) => unreachable!("the page was asked for"),
        }
    }

    /// Fills each buffer with its page, all in one round trip.
    fn load(&mut self, loads: &mut [(u64, Buffer)]) -> Vec<Result<()>> {
        let count = loads.len();
        let mut batch = Batch::new();
        let mut end = None;
        for (page, buffer) in loads.iter_mut() {
            if let Err(error) = batch.read(&mut self.connection, *page * PAGE_SIZE, buffer) {
                end = Some(error);
                break;
            }
        }
        if let Err(error) = batch.wait(&mut self.connection) {
            end = Some(error);
        }
        let mut results: Vec<Result<()>> = Vec::with_capacity(count);
        for slot in batch.slots {
            results.push(match (slot.result, &end) {
                (Some(result), _) => result,
                (None, Some(error)) => Err(error.clone()),
                (None, None) => unreachable!("all were waited for"),
            });
        }
        while results.len() < count {
            results.push(match &end {
                Some(error) => Err(error.clone()),
                None => unreachable!("all were submitted"),
            });
        }
        results
    }

    /// Takes in a page that was fetched: beneath what is known of it, or as a new one.
    fn put(cache: &mut PageCache, number: u64, mut buffer: Buffer) -> usize {
        match cache.find(number) {
            None => cache.add(number, buffer),
            Some(place) => {
                let page = cache.page(place);
                let (begin, end) = (page.known_begin, page.known_end);
                if !page.dirty {
                    std::mem::swap(&mut page.bytes, &mut buffer);
                    cache.give_back(buffer);
                } else {
                    page.bytes[..begin].copy_from_slice(&buffer[..begin]);
                    page.bytes[end..].copy_from_slice(&buffer[end..]);
                    page.base = Some(buffer);
                }
                let page = cache.page(place);
                page.known_begin = 0;
                page.known_end = PAGE;
                place
            }
        }
    }

    // What goes out.

    pub(crate) fn write_cached(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        self.check_call(Operation::WRITE, offset, data.len() as u64)?;
        if !self.writes_back() {
            return self.write_through(offset, data);
        }
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let piece = Piece::at(at, rest.len());
            let (part, behind) = rest.split_at(piece.length);
            self.write_back(&piece, part)?;
            rest = behind;
            at += piece.length as u64;
        }
        Ok(())
    }

    fn write_through(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        // From the first byte to the last that differs, in one piece: a write is atomic.
        let (mut begin, mut end) = (data.len(), 0);
        let mut at = 0;
        while at < data.len() {
            let piece = Piece::at(offset + at as u64, data.len() - at);
            let part = &data[at..at + piece.length];
            let cache = self.cache();
            match cache.find(piece.page).filter(|place| cache.page(*place).is_complete()) {
                None => {
                    begin = begin.min(at);
                    end = at + piece.length;
                }
                Some(place) => {
                    let held = &cache.page(place).bytes[piece.begin..piece.begin + piece.length];
                    if held != part {
                        let differs = |(a, b): (&u8, &u8)| a != b;
                        let first = part.iter().zip(held).position(differs).unwrap_or(0);
                        let last = part.iter().zip(held).rposition(differs).unwrap_or(piece.length - 1);
                        begin = begin.min(at + first);
                        end = at + last + 1;
                    }
                }
            }
            at += piece.length;
        }
        if begin >= end {
            return Ok(());
        }
        if let Err(error) = self.send_write(offset + begin as u64, &data[begin..end]) {
            self.cache().drop_range(offset, data.len() as u64);
            return Err(error);
        }
        let cache = self.cache();
        at = 0;
        while at < data.len() {
            let piece = Piece::at(offset + at as u64, data.len() - at);
            let mut place = cache.peek(piece.page);
            if place.is_none() && piece.length == PAGE && cache.make_room(1, None) {
                let buffer = cache.take_buffer();
                place = Some(cache.add(piece.page, buffer));
            }
            if let Some(place) = place {
                let bytes = &mut cache.page(place).bytes;
                bytes[piece.begin..piece.begin + piece.length].copy_from_slice(&data[at..at + piece.length]);
            }
            at += piece.length;
        }
        Ok(())
    }

    fn write_back(&mut self, piece: &Piece, data: &[u8]) -> Result<()> {
        let sent_pages = self.sent_pages();
        let end = piece.begin + piece.length;
        let cache = self.cache();
        let place = match cache.find(piece.page) {
            // Written in part without having been read, and sent since: how the rest was is not known.
            Some(place) if !cache.page(place).dirty && !cache.page(place).is_complete() => {
                cache.erase(place);
                return self.begin_page(piece, data);
            }
            Some(place) => place,
            None => return self.begin_page(piece, data),
        };
        let cache = self.cache();
        if !cache.page(place).dirty {
            if cache.page(place).bytes[piece.begin..end] == *data {
                return Ok(());
            }
            if piece.page >= sent_pages {
                let page = cache.page(place);
                page.dirty = true;
                page.base_is_zero = true;
            } else {
                self.make_room(1, Some(place))?;
                self.cache().keep_as_it_was(place);
            }
        } else {
            let page = cache.page(place);
            let apart = piece.begin > page.known_end || end < page.known_begin;
            if !page.is_complete() && piece.length < PAGE && apart {
                self.bring(piece.page, piece.page)?;
            }
        }
        let page = self.cache().page(place);
        page.bytes[piece.begin..end].copy_from_slice(data);
        page.known_begin = page.known_begin.min(piece.begin);
        page.known_end = page.known_end.max(end);
        Ok(())
    }

    /// The first write to a page that is not here: it need not be read for it.
    fn begin_page(&mut self, piece: &Piece, data: &[u8]) -> Result<()> {
        self.make_room(1, None)?;
        let unsent = piece.page >= self.sent_pages();
        let cache = self.cache();
        let mut bytes = cache.take_buffer();
        if unsent && piece.length < PAGE {
            bytes.fill(0);
        }
        bytes[piece.begin..piece.begin + piece.length].copy_from_slice(data);
        let place = cache.add(piece.page, bytes);
        let page = cache.page(place);
        page.dirty = true;
        if unsent {
            page.base_is_zero = true;
        } else {
            page.known_begin = piece.begin;
            page.known_end = piece.begin + piece.length;
        }
        Ok(())
    }

    fn make_room(&mut self, buffers: usize, keep: Option<usize>) -> Result<()> {
        while !self.cache().make_room(buffers, keep) {
            let places = self.cache().dirty_to_send(keep);
            if places.is_empty() {
                // Only what must be kept is left, and two buffers are always there for it.
                return Err(self.error(ErrorKind::LimitExceeded, Operation::WRITE, "cache_bytes is too small"));
            }
            self.send_dirty(&places, false)?;
        }
        Ok(())
    }

    pub(crate) fn send_all_dirty(&mut self) -> Result<()> {
        let places = self.cache().dirty();
        self.send_dirty(&places, false).map(|_| ())
    }

    /// Sends grown pages and what differs in those at `places`, and behind it a commit, if wanted, all in one round
    /// trip. On an error what was not taken is sent again later. Returns what the commit was answered; `None`: there
    /// was nothing to send.
    fn send_dirty(&mut self, places: &[usize], commit: bool) -> Result<Option<Result<()>>> {
        let mut batch = Batch::new();
        let mut sent: Vec<(usize, usize)> = Vec::with_capacity(places.len());
        let grown = self.unsent_pages;
        let submitted = self.submit_dirty(&mut batch, places, &mut sent, commit);
        let waited = batch.wait(&mut self.connection);
        // The connection or the lease is gone: nothing here is of use any more.
        submitted.and(waited)?;
        let mut slots = batch.slots.into_iter().map(|slot| slot.result.unwrap_or(Ok(())));
        let mut first: Option<Error> = None;
        if grown > 0 {
            match slots.next() {
                Some(Err(error)) => first = Some(error),
                _ => self.unsent_pages -= grown,
            }
        }
        for (place, count) in sent {
            let results: Vec<Result<()>> = slots.by_ref().take(count).collect();
            let taken = results.iter().filter(|result| result.is_ok()).count();
            let cache = self.cache();
            if taken == count {
                cache.settle(place);
            } else if taken > 0 {
                // Neither as it was nor as it is: from now on all of it has to be sent.
                cache.forget_base(place);
            }
            if first.is_none() {
                first = results.into_iter().find_map(Result::err);
            }
        }
        match first {
            Some(error) => Err(error),
            None => Ok(slots.next()),
        }
    }

    fn submit_dirty(
        &mut self,
        batch: &mut Batch<'_>,
        places: &[usize],
        sent: &mut Vec<(usize, usize)>,
        commit: bool,
    ) -> Result<()> {
        let zeros = self.connection.has_feature(FEATURE_ZERO);
        if self.unsent_pages > 0 {
            let had = self.told_pages();
            batch.grow(&mut self.connection, self.unsent_pages, had)?;
        }
        let (connection, cache) = match &mut self.cache {
            Some(cache) => (&mut self.connection, cache),
            None => unreachable!("called only where there is a cache"),
        };
        for place in places {
            let page = cache.page(*place);
            let ranges = page.unsent();
            for (begin, end) in &ranges {
                let offset = page.number * PAGE_SIZE + *begin as u64;
                let bytes = &page.bytes[*begin..*end];
                if zeros && bytes.len() >= ZEROS_MIN && is_zero(bytes) {
                    let length = bytes.len() as u64;
                    batch.request(connection, &Request::Zero { offset, length })?;
                } else {
                    batch.write(connection, offset, bytes)?;
                }
            }
            sent.push((*place, ranges.len()));
        }
        if commit && !batch.slots.is_empty() {
            batch.request(connection, &Request::Commit)?;
        }
        Ok(())
    }

    pub(crate) fn flush_cached(&mut self) -> Result<()> {
        self.connection.check_usable(Operation::FLUSH)?;
        let places = self.cache().dirty();
        let commits = self.connection.has_feature(FEATURE_COMMIT);
        let result = match self.send_dirty(&places, commits)? {
            Some(Ok(())) => return Ok(()),
            // For a change whose error was told by the call that sent it; the rest of it was sent and taken now.
            Some(Err(error)) if error.kind() == ErrorKind::InvalidArgument => self.send_flush(&Request::Flush),
            Some(Err(error)) => {
                self.pages_known = false;
                Err(error)
            }
            None => self.send_flush(&Request::Flush),
        };
        if result.is_err() {
            // Published, or not: the daemon knows what there is now.
            self.cache().clear();
        }
        result
    }

    pub(crate) fn zero_cached(&mut self, offset: u64, length: u64) -> Result<()> {
        self.check_call(Operation::ZERO, offset, length)?;
        if length == 0 {
            return Ok(());
        }
        if self.unsent_pages > 0 {
            self.send_dirty(&[], false)?;
        }
        if let Err(error) = self.send_zero(offset, length) {
            // Where it is done by several writes, some may have been carried out.
            self.cache().distrust(offset, length);
            return Err(error);
        }
        for place in self.cache().places_in(offset, length) {
            let page = self.cache().page(place);
            let page_at = page.number * PAGE_SIZE;
            let from = (page_at.max(offset) - page_at) as usize;
            let until = ((page_at + PAGE_SIZE).min(offset + length) - page_at) as usize;
            page.bytes[from..until].fill(0);
            if let Some(base) = &mut page.base {
                base[from..until].fill(0);
            }
        }
        Ok(())
    }

    /// Drops what is private, for a discard.
    pub(crate) fn forget_private(&mut self) {
        self.cache().clear();
        self.unsent_pages = 0;
    }

    pub(crate) fn forget_changed(&mut self, refreshed: &Refreshed) {
        if let Some(cache) = &mut self.cache {
            if refreshed.everything {
                cache.clear();
            }
            for range in &refreshed.changed {
                cache.drop_range(range.offset, range.length);
            }
        }
    }

    /// For requests that go past the cache: all of it is sent and dropped.
    pub(crate) fn leave_cache(&mut self) -> Result<()> {
        if self.cache.is_some() {
            if self.writes_back() {
                self.send_all_dirty()?;
            }
            self.cache().clear();
        }
        Ok(())
    }
}
