//! Sequence numbers across processes.
//!
//! In GStreamer, related events have the same sequence number: a flush, and the segment and EOS
//! after it, have the number of the seek that caused them. Each process counts its own numbers. So
//! a number crosses as a name: the id of the process that has counted it, and its number there. A
//! process that receives the name of another process uses a number of its own for it. If it
//! receives a name of its own, it uses the original number, so that a client's seek comes back with
//! its number.
//!
//! The names that were used last are remembered. If a peer uses many names, others are forgotten:
//! events that had one number may then have two.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use glib::translate::IntoGlib;

use xmem_media::event::SequenceNumber as Name;

use super::group::PROCESS;

/// The maximum number of names that are remembered: of events on whose numbers later events depend,
/// and of others.
const MAX_LASTING: usize = 512;
const MAX_PASSING: usize = 64;

/// How long the sequence number of an event is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// For the rest of the stream: the EOS has the number of the segment.
    Lasting,
    /// For the events next to this one.
    Passing,
}

/// Returns the name of a number of this process.
pub(super) fn name(seqnum: gst::Seqnum, used: Use) -> Name {
    known().name(seqnum, used)
}

/// Returns the number that this process uses for a name.
pub(super) fn number(name: Name, used: Use) -> gst::Seqnum {
    known().number(name, used)
}

fn known() -> MutexGuard<'static, Known> {
    static KNOWN: Mutex<Known> = Mutex::new(Known::new());
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name, and the number that this process uses for it.
type Named = (Name, gst::Seqnum);

/// The remembered names, in the order of their last use.
struct Known {
    lasting: VecDeque<Named>,
    passing: VecDeque<Named>,
}

impl Known {
    const fn new() -> Known {
        Known {
            lasting: VecDeque::new(),
            passing: VecDeque::new(),
        }
    }

    fn name(&mut self, seqnum: gst::Seqnum, used: Use) -> Name {
        let is = |named: &Named| named.1 == seqnum;
        let new = || Name {
            process: *PROCESS,
            number: seqnum.into_glib(),
        };
        self.look_up(is, used, || (new(), seqnum)).0
    }

    fn number(&mut self, name: Name, used: Use) -> gst::Seqnum {
        if name.number == 0 {
            return gst::Seqnum::next();
        }
        let is = |named: &Named| named.0 == name;
        self.look_up(is, used, || (name, gst::Seqnum::next())).1
    }

    /// Returns the remembered pair, or remembers a new one. Moves it to the end of its list.
    fn look_up(
        &mut self,
        is: impl Fn(&Named) -> bool,
        used: Use,
        new: impl FnOnce() -> Named,
    ) -> Named {
        let (used, named) = match self.take(is) {
            Some((Use::Lasting, named)) => (Use::Lasting, named),
            Some((Use::Passing, named)) => (used, named),
            None => (used, new()),
        };
        let (list, most) = self.list(used);
        if list.len() >= most {
            list.pop_front();
        }
        list.push_back(named);
        named
    }

    fn take(&mut self, is: impl Fn(&Named) -> bool) -> Option<(Use, Named)> {
        for used in [Use::Lasting, Use::Passing] {
            let (list, _) = self.list(used);
            // Most names that are looked up were used recently.
            if let Some(at) = list.iter().rposition(&is) {
                return list.remove(at).map(|found| (used, found));
            }
        }
        None
    }

    fn list(&mut self, used: Use) -> (&mut VecDeque<Named>, usize) {
        match used {
            Use::Lasting => (&mut self.lasting, MAX_LASTING),
            Use::Passing => (&mut self.passing, MAX_PASSING),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn theirs(number: u32) -> Name {
        Name {
            process: PROCESS.wrapping_add(1),
            number,
        }
    }

    #[test]
    fn a_name_has_one_number_and_a_number_one_name() {
        gst::init().unwrap();
        let mut known = Known::new();
        let numbers = [1, 2].map(|number| known.number(theirs(number), Use::Passing));
        assert_ne!(numbers[0], numbers[1]);
        for (number, here) in [1, 2].into_iter().zip(numbers) {
            assert_eq!(known.number(theirs(number), Use::Lasting), here);
            // The number is passed on, and comes back.
            assert_eq!(known.name(here, Use::Lasting), theirs(number));
        }
        let ours = gst::Seqnum::next();
        let name = known.name(ours, Use::Lasting);
        assert_eq!((name.process, name.number), (*PROCESS, ours.into_glib()));
        assert_eq!(known.number(name, Use::Lasting), ours);
    }

    #[test]
    fn what_has_no_number_has_a_new_one_each_time() {
        gst::init().unwrap();
        let mut known = Known::new();
        let number = known.number(Name::default(), Use::Lasting);
        assert_ne!(known.number(Name::default(), Use::Lasting), number);
        assert!(known.lasting.is_empty());
    }

    /// A name of this process that it never sent is not trusted as its own: a peer cannot choose a
    /// number.
    #[test]
    fn a_name_that_was_not_told_is_that_of_another() {
        gst::init().unwrap();
        let mut known = Known::new();
        let seqnum = gst::Seqnum::next();
        let name = Name {
            process: *PROCESS,
            number: seqnum.into_glib(),
        };
        assert_ne!(known.number(name, Use::Lasting), seqnum);
    }

    #[test]
    fn what_passes_makes_nothing_forgotten_that_lasts() {
        gst::init().unwrap();
        let mut known = Known::new();
        let segment = known.number(theirs(1), Use::Lasting);
        for number in 0..10_000 {
            known.number(theirs(2 + number), Use::Passing);
        }
        assert_eq!(known.number(theirs(1), Use::Lasting), segment);
        for number in 0..MAX_LASTING as u32 - 1 {
            known.number(theirs(2 + number), Use::Lasting);
            known.number(theirs(1), Use::Passing);
        }
        assert_eq!(known.number(theirs(1), Use::Lasting), segment);
    }

    #[test]
    fn many_names_fill_no_memory() {
        gst::init().unwrap();
        let mut known = Known::new();
        for number in 1..10_000 {
            known.number(theirs(number), Use::Lasting);
            known.number(theirs(10_000 + number), Use::Passing);
        }
        assert_eq!(
            (known.lasting.len(), known.passing.len()),
            (MAX_LASTING, MAX_PASSING)
        );
    }
}
