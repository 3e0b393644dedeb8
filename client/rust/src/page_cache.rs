//! Pages of one image in memory: least recently used ones go first, and what was written is known apart. No I/O.

use crate::protocol::PAGE_SIZE;
use crate::session::Traffic;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Instant;

pub(crate) const PAGE: usize = PAGE_SIZE as usize;
const NONE: usize = usize::MAX;
/// About a write's frame header, its offset and what the daemon logs beside its bytes.
const GAP_MIN: usize = 64;
/// Equal bytes are passed over in blocks of this size.
const BLOCK: usize = 256;
/// Of one page: beyond that, larger gaps are sent along.
const RANGES_MAX: usize = 16;
/// The most that one call brings in or reads ahead, in pages.
const CHUNK_PAGES_MAX: usize = 16;

/// A page's number is its own hash, spread over all bits.
#[derive(Default)]
pub(crate) struct PageHasher(u64);

impl Hasher for PageHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

pub(crate) type Buffer = Box<[u8]>;

/// A page, or the part of it that is known.
///
/// What the daemon has (for this session) is `base` where the page is dirty: as it was before the first write that was
/// not sent. A dirty page without it was written without having been read: all that is known has to be sent.
pub(crate) struct Page {
    pub number: u64,
    pub bytes: Buffer,
    pub base: Option<Buffer>,
    /// It was all zeros, which takes no memory to know.
    pub base_is_zero: bool,
    pub dirty: bool,
    pub known_begin: usize,
    pub known_end: usize,
    newer: usize,
    older: usize,
}

impl Page {
    pub fn is_complete(&self) -> bool {
        self.known_begin == 0 && self.known_end == PAGE
    }

    pub fn knows(&self, begin: usize, length: usize) -> bool {
        begin >= self.known_begin && begin + length <= self.known_end
    }

    /// The ranges to send so that the daemon has what is here, as (begin, end).
    pub fn unsent(&self) -> Vec<(usize, usize)> {
        if !self.dirty {
            return Vec::new();
        }
        match &self.base {
            Some(base) => differing_ranges(&self.bytes, Some(base)),
            None if self.base_is_zero => differing_ranges(&self.bytes, None),
            None => vec![(self.known_begin, self.known_end)],
        }
    }
}

/// Memory is counted in buffers of a page: one for each page, and one more for each that is kept as it was.
pub(crate) struct PageCache {
    pub chunk_pages: usize,
    pub looked_at: Option<Instant>,
    /// The page that was read last, how often in a row a read went on to the next page, and the end of what was read
    /// ahead.
    pub last_read: u64,
    pub forward: u32,
    pub hits: u64,
    pub misses: u64,
    pub ahead: u64,
    buffers_max: usize,
    buffers: usize,
    buffers_peak: usize,
    pages: Vec<Option<Page>>,
    free: Vec<usize>,
    by_number: HashMap<u64, usize, BuildHasherDefault<PageHasher>>,
    newest: usize,
    oldest: usize,
    spare: Vec<Buffer>,
}

impl PageCache {
    pub fn new(bytes_max: u64) -> Self {
        let buffers_max = usize::try_from(bytes_max / PAGE_SIZE).unwrap_or(usize::MAX / PAGE);
        PageCache {
            chunk_pages: (buffers_max / 4).clamp(1, CHUNK_PAGES_MAX),
            looked_at: None,
            last_read: u64::MAX,
            forward: 0,
            hits: 0,
            misses: 0,
            ahead: 0,
            buffers_max,
            buffers: 0,
            buffers_peak: 0,
            pages: Vec::new(),
            free: Vec::new(),
            by_number: HashMap::default(),
            newest: NONE,
            oldest: NONE,
            spare: Vec::new(),
        }
    }

    pub fn add_to(&self, traffic: &mut Traffic) {
        traffic.cache_hits = self.hits;
        traffic.cache_misses = self.misses;
        traffic.pages_read_ahead = self.ahead;
        traffic.cache_bytes = self.buffers as u64 * PAGE_SIZE;
        traffic.cache_bytes_peak = self.buffers_peak as u64 * PAGE_SIZE;
    }

    /// The page at a place that [`find`](Self::find), [`peek`](Self::peek) or [`add`](Self::add) named.
    pub fn page(&mut self, at: usize) -> &mut Page {
        match self.pages.get_mut(at) {
            Some(Some(page)) => page,
            _ => unreachable!("a place is used only until its page is dropped"),
        }
    }

    fn unlink(&mut self, at: usize) {
        let (newer, older) = (self.page(at).newer, self.page(at).older);
        match newer {
            NONE => self.newest = older,
            newer => self.page(newer).older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.page(older).newer = newer,
        }
    }

    fn link_newest(&mut self, at: usize) {
        let second = self.newest;
        self.page(at).newer = NONE;
        self.page(at).older = second;
        match second {
            NONE => self.oldest = at,
            second => self.page(second).newer = at,
        }
        self.newest = at;
    }

    /// The place of a page, which is then the most recently used one.
    pub fn find(&mut self, number: u64) -> Option<usize> {
        // Most calls go on where the last one was.
        if self.newest != NONE && self.page(self.newest).number == number {
            return Some(self.newest);
        }
        let at = self.peek(number)?;
        self.unlink(at);
        self.link_newest(at);
        Some(at)
    }

    /// As [`find`](Self::find), without counting as a use.
    pub fn peek(&self, number: u64) -> Option<usize> {
        self.by_number.get(&number).copied()
    }

    pub fn take_buffer(&mut self) -> Buffer {
        self.buffers += 1;
        self.buffers_peak = self.buffers_peak.max(self.buffers);
        self.spare.pop().unwrap_or_else(|| vec![0; PAGE].into_boxed_slice())
    }

    pub fn give_back(&mut self, buffer: Buffer) {
        self.buffers -= 1;
        // What is spare counts as well: it is kept only while there is room for it.
        if self.buffers + self.spare.len() < self.buffers_max.min(self.buffers + 2 * CHUNK_PAGES_MAX) {
            self.spare.push(buffer);
        }
    }

    /// Adds a page that is not here, with a buffer that was taken. All of it counts as known.
    pub fn add(&mut self, number: u64, bytes: Buffer) -> usize {
        let page = Page {
            number,
            bytes,
            base: None,
            base_is_zero: false,
            dirty: false,
            known_begin: 0,
            known_end: PAGE,
            newer: NONE,
            older: NONE,
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.pages[at] = Some(page);
                at
            }
            None => {
                self.pages.push(Some(page));
                self.pages.len() - 1
            }
        };
        self.by_number.insert(number, at);
        self.link_newest(at);
        at
    }

    pub fn erase(&mut self, at: usize) {
        self.unlink(at);
        if let Some(page) = self.pages[at].take() {
            self.by_number.remove(&page.number);
            self.give_back(page.bytes);
            if let Some(base) = page.base {
                self.give_back(base);
            }
        }
        self.free.push(at);
    }

    pub fn clear(&mut self) {
        while self.newest != NONE {
            self.erase(self.newest);
        }
        self.spare.clear();
        self.forward = 0;
    }

    /// The places of the pages that a range touches, in any order.
    pub fn places_in(&self, offset: u64, length: u64) -> Vec<usize> {
        if length == 0 {
            return Vec::new();
        }
        let (first, last) = (offset / PAGE_SIZE, offset.saturating_add(length - 1) / PAGE_SIZE);
        if last - first < self.by_number.len() as u64 {
            return (first..=last).filter_map(|number| self.peek(number)).collect();
        }
        let inside = self.by_number.iter().filter(|(number, _)| (first..=last).contains(*number));
        inside.map(|(_, at)| *at).collect()
    }

    /// Drops the pages that a range touches.
    pub fn drop_range(&mut self, offset: u64, length: u64) {
        for at in self.places_in(offset, length) {
            self.erase(at);
        }
    }

    /// What the daemon has there is not known any more: drops clean pages, and has all of the dirty ones sent.
    pub fn distrust(&mut self, offset: u64, length: u64) {
        for at in self.places_in(offset, length) {
            if self.page(at).dirty {
                self.forget_base(at);
            } else {
                self.erase(at);
            }
        }
    }

    /// Copies a clean page's bytes, so that it may be changed. Room for one buffer must have been made.
    pub fn keep_as_it_was(&mut self, at: usize) {
        let mut base = self.take_buffer();
        let page = self.page(at);
        base.copy_from_slice(&page.bytes);
        page.base = Some(base);
        page.dirty = true;
    }

    /// Forgets how the page was: all that is known has to be sent.
    pub fn forget_base(&mut self, at: usize) {
        let page = self.page(at);
        page.base_is_zero = false;
        if let Some(base) = page.base.take() {
            self.give_back(base);
        }
    }

    /// Marks the page as what the daemon has.
    pub fn settle(&mut self, at: usize) {
        self.page(at).dirty = false;
        self.forget_base(at);
    }

    /// Drops clean pages, least recently used first and never `keep`, until `buffers` more fit. False: what is left is
    /// dirty.
    pub fn make_room(&mut self, buffers: usize, keep: Option<usize>) -> bool {
        let mut at = self.oldest;
        while self.buffers + buffers > self.buffers_max && at != NONE {
            let newer = self.page(at).newer;
            if !self.page(at).dirty && Some(at) != keep {
                self.erase(at);
            }
            at = newer;
        }
        self.buffers + buffers <= self.buffers_max
    }

    /// Dirty pages to send so that room can be made: the least recently used ones, a quarter of the cache at most.
    pub fn dirty_to_send(&mut self, keep: Option<usize>) -> Vec<usize> {
        let most = (self.buffers_max / 4).max(1);
        let mut places = Vec::new();
        let mut at = self.oldest;
        while at != NONE && places.len() < most {
            if self.page(at).dirty && Some(at) != keep {
                places.push(at);
            }
            at = self.page(at).newer;
        }
        places
    }

    /// All dirty pages, in the order of their numbers.
    pub fn dirty(&mut self) -> Vec<usize> {
        let mut places = Vec::new();
        let mut at = self.oldest;
        while at != NONE {
            if self.page(at).dirty {
                places.push(at);
            }
            at = self.page(at).newer;
        }
        places.sort_by_key(|at| self.pages[*at].as_ref().map(|page| page.number));
        places
    }
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let mut blocks = bytes.chunks_exact(BLOCK);
    blocks.all(|block| block == [0; BLOCK]) && blocks.remainder().iter().all(|byte| *byte == 0)
}

/// Where two pages differ (`None`: from zeros), as (begin, end); gaps that cost less than another write are in it.
fn differing_ranges(now: &[u8], before: Option<&[u8]>) -> Vec<(usize, usize)> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for start in (0..now.len()).step_by(BLOCK) {
        let end = (start + BLOCK).min(now.len());
        let block = &now[start..end];
        let zeros = [0; BLOCK];
        let old = before.map_or(&zeros[..end - start], |before| &before[start..end]);
        if block == old {
            continue;
        }
        for at in (start..end).filter(|at| block[at - start] != old[at - start]) {
            match ranges.last_mut() {
                Some(last) if at - last.1 < GAP_MIN => last.1 = at + 1,
                _ => ranges.push((at, at + 1)),
            }
        }
    }
    let mut gap = 2 * GAP_MIN;
    while ranges.len() > RANGES_MAX {
        let mut closed: Vec<(usize, usize)> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match closed.last_mut() {
                Some(last) if range.0 - last.1 < gap => last.1 = range.1,
                _ => closed.push(range),
            }
        }
        ranges = closed;
        gap *= 2;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_every_difference_and_are_few() {
        let mut state = 7u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % below
        };
        for round in 0..200 {
            let before = vec![0u8; PAGE];
            let mut now = before.clone();
            for _ in 0..random(60) {
                let (at, length) = (random(PAGE - 300), 1 + random(300));
                now[at..at + length].fill(random(3) as u8);
            }
            let base = if round % 2 == 0 { Some(&before[..]) } else { None };
            let ranges = differing_ranges(&now, base);
            assert!(ranges.len() <= RANGES_MAX);
            let mut copy = before;
            for (begin, end) in ranges {
                assert!(begin < end && end <= PAGE);
                assert!(now[begin] != 0 && now[end - 1] != 0, "a range begins and ends with a difference");
                copy[begin..end].copy_from_slice(&now[begin..end]);
            }
            assert_eq!(copy, now);
        }
    }

    #[test]
    fn the_least_recently_used_clean_page_goes_first() {
        let mut cache = PageCache::new(3 * PAGE_SIZE);
        for number in 0..3 {
            assert!(cache.make_room(1, None));
            let buffer = cache.take_buffer();
            cache.add(number, buffer);
        }
        assert!(cache.find(0).is_some());
        assert!(cache.make_room(1, None));
        assert!(cache.peek(1).is_none(), "1 was used least recently");
        let zero = cache.peek(0).unwrap();
        cache.keep_as_it_was(zero);
        assert!(cache.make_room(1, None));
        assert!(cache.peek(2).is_none(), "a dirty page stays");
        assert!(!cache.make_room(2, None), "what is dirty takes two buffers of three");
        assert_eq!(cache.dirty(), vec![zero]);
        cache.settle(zero);
        cache.clear();
        assert!(cache.make_room(3, None));
    }
}
