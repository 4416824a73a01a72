//! What a client was told and has not received yet.

use std::collections::{HashSet, VecDeque};

use super::{EventKind, StreamEvent};

/// Most events that wait to be received.
pub(crate) const MAX_EVENTS: usize = 1024;
/// Most bytes of them.
const MAX_BYTES: usize = 64 << 20;

#[derive(Debug)]
struct Pending {
    number: u64,
    position: u64,
    event: StreamEvent,
}

/// Events in the order in which they were told.
#[derive(Debug, Default)]
pub(crate) struct Events {
    pending: VecDeque<Pending>,
    bytes: usize,
    /// All events up to this number were told.
    told: u64,
    /// Frames whose last event has a lower number can't be understood any more: what was true then
    /// was forgotten.
    forgotten: u64,
    flushes: u64,
}

/// What comes before a frame.
pub(crate) enum Before {
    /// An event, and its place in the stream.
    Event(StreamEvent, u64),
    Nothing,
    /// Something that was not told yet.
    ToCome,
    /// What was true at the frame was forgotten.
    Forgotten,
}

impl Events {
    /// Takes in what was told.
    pub(crate) fn add(&mut self, number: u64, position: u64, event: StreamEvent) {
        self.bytes += event.content.len();
        self.pending.push_back(Pending {
            number,
            position,
            event,
        });
        self.add_told(number);
        while self.pending.len() > MAX_EVENTS || (self.pending.len() > 1 && self.bytes > MAX_BYTES)
        {
            self.forget_one();
        }
    }

    /// All events up to this number were told.
    pub(crate) fn add_told(&mut self, number: u64) {
        self.told = self.told.max(number);
    }

    /// How often what was said once has become void.
    pub(crate) fn flushes(&self) -> u64 {
        self.flushes
    }

    /// What was said once is void.
    pub(crate) fn flush(&mut self) {
        self.flushes += 1;
        self.pending.retain(|pending| {
            let kind = pending.event.kind;
            kind.key().is_some() && kind != EventKind::EndOfStream
        });
        let lengths = self
            .pending
            .iter()
            .map(|pending| pending.event.content.len());
        self.bytes = lengths.sum();
    }

    /// What has to be received before the frame whose last event is `event`.
    pub(crate) fn before(&mut self, event: u64) -> Before {
        if event < self.forgotten {
            return Before::Forgotten;
        }
        match self.pending.front() {
            Some(front) if front.number <= event => self.take(),
            _ if self.told < event => Before::ToCome,
            _ => Before::Nothing,
        }
    }

    /// What comes next where there is no frame before `position` any more, and none after.
    pub(crate) fn next(&mut self, position: u64) -> Option<(StreamEvent, u64)> {
        let front = self.pending.front()?;
        if front.number > 0 && front.position > position {
            return None;
        }
        match self.take() {
            Before::Event(event, position) => Some((event, position)),
            _ => None,
        }
    }

    fn take(&mut self) -> Before {
        match self.pending.pop_front() {
            Some(pending) => {
                self.bytes -= pending.event.content.len();
                Before::Event(pending.event, pending.position)
            }
            None => Before::Nothing,
        }
    }

    /// Forgets an event, for there is no room for more: one that was said once, else one that was
    /// replaced since, and with it the frames until then.
    fn forget_one(&mut self) {
        let mut keys = HashSet::new();
        let once = self
            .pending
            .iter()
            .position(|pending| pending.event.kind.key().is_none());
        let replaced = || {
            let mut found = None;
            for (at, pending) in self.pending.iter().enumerate().rev() {
                let key = pending.event.kind.key();
                if key.is_some_and(|key| !keys.insert(key)) {
                    found = Some(at);
                }
            }
            found
        };
        let at = once.or_else(replaced).unwrap_or(0);
        let Some(gone) = self.pending.remove(at) else {
            return;
        };
        self.bytes -= gone.event.content.len();
        if let Some(key) = gone.event.kind.key() {
            let mut later = self.pending.iter();
            let next = later.find(|pending| pending.event.kind.key() == Some(key));
            let until = next.map_or(self.told + 1, |next| next.number);
            self.forgotten = self.forgotten.max(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind) -> StreamEvent {
        StreamEvent::new(0, kind, [].into(), 0)
    }

    fn is_event(before: Before) -> bool {
        matches!(before, Before::Event(..))
    }

    #[test]
    fn a_frame_waits_for_what_was_said_before_it() {
        let mut events = Events::default();
        assert!(matches!(events.before(2), Before::ToCome));
        events.add(1, 0, event(EventKind::Format));
        assert!(is_event(events.before(2)));
        assert!(matches!(events.before(2), Before::ToCome));
        events.add_told(2);
        assert!(matches!(events.before(2), Before::Nothing));
        events.add(3, 1, event(EventKind::Passing));
        assert!(matches!(events.before(2), Before::Nothing));
        assert!(events.next(0).is_none());
        assert!(events.next(1).is_some());
    }

    #[test]
    fn where_there_is_no_room_what_was_said_once_goes_first() {
        let mut events = Events::default();
        events.add(1, 0, event(EventKind::Format));
        for number in 2..5000 {
            events.add(number, 0, event(EventKind::Passing));
        }
        assert_eq!(events.pending.len(), MAX_EVENTS);
        assert!(is_event(events.before(1)));
        for number in 5000..9000 {
            events.add(number, 0, event(EventKind::Format));
        }
        assert_eq!(events.pending.len(), MAX_EVENTS);
        let first = events.pending[0].number;
        assert!(matches!(events.before(first - 1), Before::Forgotten));
        assert!(is_event(events.before(first)));
    }

    #[test]
    fn a_flush_leaves_what_is_sticky() {
        let mut events = Events::default();
        events.add(1, 0, event(EventKind::Format));
        events.add(2, 0, event(EventKind::Passing));
        events.add(3, 9, event(EventKind::EndOfStream));
        events.flush();
        assert!(is_event(events.before(3)));
        assert!(matches!(events.before(3), Before::Nothing));
    }
}
