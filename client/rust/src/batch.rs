//! Requests that are waited for together, each with a buffer of the caller's where it reads.

use crate::connection::{Connection, Nobody, Sink};
use crate::error::{Error, Result};
use crate::protocol::{Answer, Fault, Operation, Request};
use crate::session::check_previous_pages;
use std::collections::VecDeque;

/// One request of a batch.
pub(crate) struct Slot<'b> {
    pub id: u64,
    operation: Operation,
    pub buffer: Option<&'b mut [u8]>,
    /// What `grow` answered: the pages before; else 0.
    pub value: u64,
    /// What it has to answer, where that is known.
    had_pages: Option<u64>,
    /// `None` while it is under way.
    pub result: Option<Result<()>>,
}

/// Ids of one batch rise, and those between two of them belong to nobody, so a slot is found by its distance.
#[derive(Default)]
pub(crate) struct Batch<'b> {
    pub slots: VecDeque<Slot<'b>>,
    pub outstanding: usize,
}

impl<'b> Batch<'b> {
    pub fn new() -> Self {
        Batch { slots: VecDeque::new(), outstanding: 0 }
    }

    fn find(&mut self, id: u64) -> Option<&mut Slot<'b>> {
        let first = self.slots.front()?.id;
        let index = usize::try_from(id.checked_sub(first)?).ok()?;
        self.slots.get_mut(index).filter(|slot| slot.id == id)
    }

    pub fn read(&mut self, connection: &mut Connection, offset: u64, buffer: &'b mut [u8]) -> Result<()> {
        let request = Request::Read { offset, length: buffer.len() as u32 };
        let id = connection.submit(&request, self)?;
        self.push(id, Operation::READ, Some(buffer), None);
        Ok(())
    }

    pub fn write(&mut self, connection: &mut Connection, offset: u64, data: &[u8]) -> Result<()> {
        let id = connection.submit_write(offset, data, self)?;
        self.push(id, Operation::WRITE, None, None);
        Ok(())
    }

    pub fn request(&mut self, connection: &mut Connection, request: &Request<'_>) -> Result<()> {
        let id = connection.submit(request, self)?;
        self.push(id, request.operation(), None, None);
        Ok(())
    }

    pub fn grow(&mut self, connection: &mut Connection, new_pages: u64, had_pages: Option<u64>) -> Result<()> {
        let id = connection.submit(&Request::Grow { new_pages }, self)?;
        self.push(id, Operation::GROW, None, had_pages);
        Ok(())
    }

    fn push(&mut self, id: u64, operation: Operation, buffer: Option<&'b mut [u8]>, had_pages: Option<u64>) {
        debug_assert!(self.slots.back().map_or(true, |last| last.id + 1 == id));
        self.outstanding += 1;
        self.slots.push_back(Slot { id, operation, buffer, value: 0, had_pages, result: None });
    }

    /// Waits for all of them. Fails when the connection ended; what each request came to is in its slot.
    pub fn wait(&mut self, connection: &mut Connection) -> Result<()> {
        if self.outstanding > 0 {
            connection.begin_wait()?;
        }
        while self.outstanding > 0 {
            connection.receive(self)?;
        }
        Ok(())
    }

    /// [`wait`](Self::wait), and then the first error of all.
    pub fn finish(&mut self, connection: &mut Connection) -> Result<()> {
        self.wait(connection)?;
        for slot in &self.slots {
            if let Some(Err(error)) = &slot.result {
                return Err(error.clone());
            }
        }
        Ok(())
    }

    /// Waits for what was submitted, after an error in the middle of it.
    pub fn drain(&mut self, connection: &mut Connection) {
        if self.outstanding > 0 && connection.ended().is_none() {
            // The error that led here is the one to tell.
            let _ = self.wait(connection);
        }
    }
}

impl Sink for Batch<'_> {
    fn target(&mut self, id: u64) -> Option<&mut [u8]> {
        self.find(id)?.buffer.as_deref_mut()
    }

    fn done(&mut self, id: u64, answer: std::result::Result<&[u8], &Error>) -> std::result::Result<(), Fault> {
        let slot = match self.find(id) {
            Some(slot) => slot,
            None => return Nobody.done(id, answer),
        };
        slot.result = Some(match answer {
            Err(error) => Err(error.clone()),
            Ok(payload) => {
                // A read's data is in its buffer already.
                if slot.operation != Operation::READ {
                    if let Answer::Grow { previous_pages } = Answer::decode(slot.operation, payload)? {
                        check_previous_pages(previous_pages, slot.had_pages)?;
                        slot.value = previous_pages;
                    }
                }
                Ok(())
            }
        });
        self.outstanding -= 1;
        Ok(())
    }
}
