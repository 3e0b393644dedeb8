//! Takes a payload apart, field by field, and remembers what was wrong first.

use super::{ByteRange, Version, RANGES_MAX};

/// What is wrong with bytes that a peer sent: a text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub String);

pub(super) struct Reader<'a> {
    what: &'static str,
    all: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(what: &'static str, payload: &'a [u8]) -> Self {
        Reader { what, all: payload, rest: payload }
    }

    #[cold]
    pub fn fault<T>(&self, text: impl AsRef<str>) -> Result<T, Fault> {
        Err(Fault(format!("{} {}", self.what, text.as_ref())))
    }

    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        if count > self.rest.len() {
            return self.fault(format!(
                "has a payload of {} bytes, expected at least {}",
                self.all.len(),
                (self.all.len() - self.rest.len()).saturating_add(count)
            ));
        }
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N)?);
        Ok(out)
    }

    pub fn u8(&mut self) -> Result<u8, Fault> {
        Ok(self.array::<1>()?[0])
    }

    pub fn u16(&mut self) -> Result<u16, Fault> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub fn i64(&mut self) -> Result<i64, Fault> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub fn version(&mut self) -> Result<Version, Fault> {
        Ok(Version { incarnation: self.u64()?, number: self.u64()? })
    }

    pub fn reserved(&mut self, count: usize) -> Result<(), Fault> {
        if self.bytes(count)?.iter().any(|byte| *byte != 0) {
            return self.fault("has a reserved field that is not 0");
        }
        Ok(())
    }

    /// One byte of flags, of which only the bits of `known` may be set.
    pub fn flags(&mut self, known: u8) -> Result<u8, Fault> {
        let flags = self.u8()?;
        if flags & !known != 0 {
            return self.fault(format!("has flags={}, of which {} are unknown", flags, flags & !known));
        }
        Ok(flags)
    }

    pub fn flags16(&mut self, known: u16) -> Result<u16, Fault> {
        let flags = self.u16()?;
        if flags & !known != 0 {
            return self.fault(format!("has flags={}, of which {} are unknown", flags, flags & !known));
        }
        Ok(flags)
    }

    pub fn choice<T: Copy>(&mut self, name: &str, choices: &[T]) -> Result<T, Fault> {
        let number = self.u8()?;
        match choices.get(usize::from(number)) {
            Some(choice) => Ok(*choice),
            None => self.fault(format!("has {}={}, which is unknown", name, number)),
        }
    }

    pub fn text(&mut self, length: usize, most: usize, name: &str) -> Result<&'a str, Fault> {
        if length > most {
            return self.fault(format!("has a {} of {} bytes, at most {}", name, length, most));
        }
        let bytes = self.bytes(length)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text),
            Err(_) => self.fault(format!("has a {} that is not UTF-8", name)),
        }
    }

    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// `count` ranges, in rising order, not overlapping, none of them empty.
    pub fn ranges(&mut self, count: u32) -> Result<Vec<ByteRange>, Fault> {
        let count = count as usize;
        if count > RANGES_MAX {
            return self.fault(format!("announces {} ranges, at most {}", count, RANGES_MAX));
        }
        if self.remaining() != count * 16 {
            return self.fault(format!("announces {} ranges and has {} bytes of them", count, self.remaining()));
        }
        let mut ranges = Vec::with_capacity(count);
        let mut end = 0;
        for index in 0..count {
            let (offset, length) = (self.u64()?, self.u64()?);
            let until = offset.checked_add(length);
            match until {
                Some(until) if length > 0 && (index == 0 || offset >= end) => end = until,
                _ => {
                    return self.fault(format!(
                        "has a range offset={} length={} that is empty, out of order or past 2^64",
                        offset, length
                    ))
                }
            }
            ranges.push(ByteRange { offset, length });
        }
        Ok(ranges)
    }

    pub fn end(&self) -> Result<(), Fault> {
        if !self.rest.is_empty() {
            return self.fault(format!("has a payload of {} bytes, {} too many", self.all.len(), self.rest.len()));
        }
        Ok(())
    }
}
