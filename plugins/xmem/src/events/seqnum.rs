//! Sequence numbers across processes.
//!
//! GStreamer numbers events, so that what came of one thing can be told: a flush, the segment and
//! the end of the stream that follow have the number of the seek that they came of. Each process
//! counts for itself. So a number crosses as a name: the process that has counted it, and its number
//! there. A process that is told a name has a number of its own for it; one that is told a name of its
//! own has just that number, so that a client's seek comes back with its number.
//!
//! What a name stands for is remembered, of the names that were used last. A peer that uses many
//! makes others forgotten: then events that had one number may have two.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gst::glib::translate::IntoGlib;

use xmem_media::event::SequenceNumber as Name;

use super::group::PROCESS;

/// Most names that are remembered of events on whose numbers others count later, and of others.
const MAX_LASTING: usize = 512;
const MAX_PASSING: usize = 64;

/// For how long an event's number counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// For the rest of the stream: that of a segment is that of the end.
    Lasting,
    /// For the events around this one.
    Passing,
}

/// The name of a number of this process.
pub(super) fn name(seqnum: gst::Seqnum, used: Use) -> Name {
    known().name(seqnum, used)
}

/// The number that this process has for a name.
pub(super) fn number(name: Name, used: Use) -> gst::Seqnum {
    known().number(name, used)
}

fn known() -> MutexGuard<'static, Known> {
    static KNOWN: Mutex<Known> = Mutex::new(Known::new());
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name, and the number that this process has for it.
type Named = (Name, gst::Seqnum);

/// The names that are remembered, the last one used at the end.
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

    /// What is remembered, or else is new, and is remembered from now on.
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
            // Most are among the last.
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
            // As it is passed on, and comes back.
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

    /// A number that this process has never told is no number of its own: a peer can't choose one.
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
