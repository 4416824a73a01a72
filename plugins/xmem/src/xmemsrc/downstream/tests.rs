use std::sync::{Arc, Mutex};

use gst::subclass::prelude::*;

use super::super::XmemSrc;
use super::*;

/// What has arrived downstream of a source: events, and the timestamps of buffers.
type Arrived = Arc<Mutex<Vec<String>>>;

/// Returns a source that is ready to play but has no streaming thread, so that the test pushes on
/// its pad; its pad; and what arrives downstream.
fn linked() -> (XmemSrc, gst::Pad, Arrived) {
    gst::init().unwrap();
    let element: XmemSrc = glib::Object::builder()
        .property("socket-path", "/nonexistent/xmem")
        .build();
    let arrived = Arrived::default();
    let [events, buffers] = [arrived.clone(), arrived.clone()];
    let pad = gst::Pad::builder(gst::PadDirection::Sink)
        .event_function(move |_, _, event| {
            events.lock().unwrap().push(event.type_().to_string());
            true
        })
        .chain_function(move |_, _, buffer| {
            buffers.lock().unwrap().push(format!("{:?}", buffer.pts()));
            Ok(gst::FlowSuccess::Ok)
        })
        .build();
    element.src_pad().link(&pad).unwrap();
    pad.set_active(true).unwrap();
    element.set_state(gst::State::Paused).unwrap();
    (element, pad, arrived)
}

fn taken(arrived: &Arrived) -> Vec<String> {
    std::mem::take(&mut *arrived.lock().unwrap())
}

fn tags() -> QueuedEvent {
    QueuedEvent::Decoded(DecodedEvent::Event(gst::event::Tag::new(
        gst::TagList::new(),
    )))
}

#[test]
fn what_is_pushed_while_the_pad_flushes_is_pushed_once_more() {
    let (element, _pad, arrived) = linked();
    let filter = &element.imp().filter;
    let mut downstream = Downstream::default();
    let caps = gst::Caps::new_empty_simple("application/x-test");
    downstream.hold(QueuedEvent::Caps(caps), 1);
    downstream.hold(tags(), 1);
    element.src_pad().push_event(gst::event::FlushStart::new());
    let nothing = Received::Nothing;
    let push = |downstream: &mut Downstream| {
        downstream.push(element.upcast_ref(), filter, (&nothing, true), None, |_| ())
    };
    push(&mut downstream).expect("a flush is no refusal");
    assert_eq!(taken(&arrived), ["flush-start"]);
    element
        .src_pad()
        .push_event(gst::event::FlushStop::new(true));
    push(&mut downstream).unwrap();
    let expected = ["flush-stop", "stream-start", "caps", "tag"];
    assert_eq!(taken(&arrived), expected);
    assert!(!downstream.is_holding());
    element.set_state(gst::State::Null).unwrap();
}

#[test]
fn a_buffer_that_is_dropped_does_not_leave_its_times_to_the_next() {
    let (element, _pad, arrived) = linked();
    let filter = &element.imp().filter;
    filter.push_stream_start(element.upcast_ref(), gst::event::StreamStart::new("test"));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    filter.push_segment(
        element.upcast_ref(),
        segment.upcast_ref(),
        gst::Seqnum::next(),
    );
    let mut buffer = gst::Buffer::new();
    filter.keep_times(element.upcast_ref(), &buffer);
    buffer.get_mut().unwrap().set_pts(gst::ClockTime::SECOND);
    filter.keep_times(element.upcast_ref(), &buffer);
    element.src_pad().push(buffer).unwrap();
    let pts = format!("{:?}", Some(gst::ClockTime::SECOND));
    assert_eq!(taken(&arrived).last(), Some(&pts));
    element.set_state(gst::State::Null).unwrap();
}

/// A pad that records the sequence numbers of segments and EOS.
fn numbering() -> (gst::Pad, Arc<Mutex<Vec<gst::Seqnum>>>) {
    let numbers = Arc::new(Mutex::new(Vec::new()));
    let noted = numbers.clone();
    let pad = gst::Pad::builder(gst::PadDirection::Sink)
        .event_function(move |_, _, event| {
            if [gst::EventType::Segment, gst::EventType::Eos].contains(&event.type_()) {
                noted.lock().unwrap().push(event.seqnum());
            }
            true
        })
        .chain_function(|_, _, _| Ok(gst::FlowSuccess::Ok))
        .build();
    pad.set_active(true).unwrap();
    (pad, numbers)
}

#[test]
fn what_the_base_class_pushes_has_the_numbers_of_the_stream() {
    let (element, _pad, _) = linked();
    let filter = &element.imp().filter;
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    let number = gst::Seqnum::next();
    filter.push_stream_start(element.upcast_ref(), gst::event::StreamStart::new("test"));
    filter.push_segment(element.upcast_ref(), segment.upcast_ref(), number);
    // The base class pushes its copy of the segment with the next buffer.
    let source = element.src_pad();
    source.push_event(gst::event::Segment::new(&segment));
    // A pad that is linked later receives the same segment.
    let (later, numbers) = numbering();
    source.unlink(&source.peer().unwrap()).unwrap();
    source.link(&later).unwrap();
    filter.push_stream_start(element.upcast_ref(), gst::event::StreamStart::new("test"));
    source.push(gst::Buffer::new()).unwrap();
    filter.end(None);
    source.push_event(gst::event::Eos::new());
    let ends =
        |numbers: &[gst::Seqnum]| numbers.len() >= 2 && numbers.iter().all(|one| *one == number);
    assert!(ends(&numbers.lock().unwrap()));
    // The stream continues until the application ends it.
    let other = gst::Seqnum::next();
    for event in [
        gst::event::FlushStart::new(),
        gst::event::FlushStop::new(true),
    ] {
        source.push_event(event);
    }
    filter.push_stream_start(element.upcast_ref(), gst::event::StreamStart::new("test"));
    filter.push_segment(element.upcast_ref(), segment.upcast_ref(), number);
    source.push_event(gst::event::Eos::builder().seqnum(other).build());
    assert_eq!(numbers.lock().unwrap().last(), Some(&other));
    element.set_state(gst::State::Null).unwrap();
}

#[test]
fn a_segment_from_before_a_flush_is_not_pushed_after_it() {
    let (element, _pad, _) = linked();
    let filter = &element.imp().filter;
    let (pad, numbers) = numbering();
    let source = element.src_pad();
    source.unlink(&source.peer().unwrap()).unwrap();
    source.link(&pad).unwrap();
    let mut downstream = Downstream::default();
    let segment = |number| {
        let segment = gst::FormattedSegment::<gst::ClockTime>::new().upcast();
        QueuedEvent::Decoded(DecodedEvent::Segment(segment, None, number))
    };
    let push = |downstream: &mut Downstream, said: &[gst::Seqnum]| {
        numbers.lock().unwrap().clear();
        for number in said {
            downstream.hold(segment(*number), 1);
            downstream.hold(tags(), 1);
        }
        let end = Received::End;
        let pushed = downstream.push(element.upcast_ref(), filter, (&end, true), None, |_| ());
        pushed.unwrap();
        let mut pushed = numbers.lock().unwrap().clone();
        // The base class's thread may push the same events again.
        pushed.dedup();
        pushed
    };
    let said = [(); 5].map(|()| gst::Seqnum::next());
    assert_eq!(push(&mut downstream, &said[..2]), said[..2]);
    downstream.flush();
    assert_eq!(push(&mut downstream, &said[2..4]), said[3..4]);
    // Only these events may arrive.
    downstream.flush();
    assert_eq!(push(&mut downstream, &said[4..]), said[4..]);
    element.set_state(gst::State::Null).unwrap();
}

#[test]
fn a_producer_that_only_talks_fills_no_memory() {
    gst::init().unwrap();
    let waiting = || {
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        let mut downstream = Downstream::default();
        let said = DecodedEvent::Segment(segment.upcast(), None, gst::Seqnum::next());
        downstream.hold(QueuedEvent::Decoded(said), 100);
        downstream
    };
    let mut many = waiting();
    for _ in 1..MAX_HELD {
        many.hold(tags(), 100);
    }
    assert_eq!(many.due(), 0);
    many.hold(tags(), 100);
    assert_eq!(many.due(), MAX_HELD + 1);
    let mut large = waiting();
    large.hold(tags(), MAX_HELD_BYTES - 100);
    assert_eq!(large.due(), 0);
    large.hold(tags(), 1);
    assert_eq!(large.due(), 3);
}

#[test]
fn a_gap_with_a_time_that_elements_can_not_reckon_with_is_left_out() {
    let (element, _pad, arrived) = linked();
    let filter = &element.imp().filter;
    let last = gst::ClockTime::from_nseconds(crate::timestamps::LAST_TIME);
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_rate(0.25);
    segment.set_start(last);
    segment.set_offset(last);
    let mut downstream = Downstream::default();
    let said = DecodedEvent::Segment(segment.upcast(), None, gst::Seqnum::next());
    downstream.hold(QueuedEvent::Decoded(said), 1);
    let gap = gst::event::Gap::builder(last).build();
    downstream.hold(QueuedEvent::Decoded(DecodedEvent::Gap(gap, None)), 1);
    downstream.hold(tags(), 1);
    let end = Received::End;
    let pushed = downstream.push(element.upcast_ref(), filter, (&end, true), None, |_| ());
    pushed.unwrap();
    let arrived = taken(&arrived);
    assert!(arrived.contains(&"tag".into()), "{arrived:?}");
    assert!(!arrived.contains(&"gap".into()), "{arrived:?}");
    element.set_state(gst::State::Null).unwrap();
}
