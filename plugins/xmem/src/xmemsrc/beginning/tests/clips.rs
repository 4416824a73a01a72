//! Pictures, other buffers and gaps from before the start.

use super::*;

#[test]
fn pictures_before_running_time_0_are_cut_or_left_out() {
    for rate in RATES {
        let segment = segment(rate);
        let mut beginning = beginning(PICTURES);
        let mut clip = |begin, length, is_newest| {
            let place = place(rate, begin, length);
            let left = beginning.clip(gst::Buffer::new(), place, &segment, is_newest);
            left.map(|buffer| shown(rate, &buffer))
        };
        // Newer frames exist.
        assert_eq!(clip(-500, Some(20), false), None);
        assert_eq!(clip(-20, Some(20), false), None);
        // This frame is the newest and the first.
        assert_eq!(clip(-80, Some(20), true), Some((0, Some(20))));
        assert_eq!(clip(-60, Some(20), true), None);
        assert_eq!(clip(-20, Some(20), true), None);
        // The following frames are shown after it.
        assert_eq!(clip(-16, Some(20), true), Some((4, Some(5))));
        assert_eq!(clip(0, Some(20), true), Some((5, Some(20))));
        assert_eq!(clip(500, Some(20), false), Some((500, Some(520))));
        if rate > 0.0 {
            // The duration is that of the caps.
            assert_eq!(clip(-20, None, true), None);
            assert_eq!(clip(-16, None, true), Some((4, Some(5))));
            assert_eq!(clip(15, None, true), Some((15, None)));
        }
    }
}

#[test]
fn pictures_of_which_no_length_is_known_last_until_the_next() {
    for caps in [
        "image/jpeg",
        "video/x-raw,format=GRAY8,width=8,height=8,framerate=0/1",
    ] {
        for rate in RATES {
            let mut beginning = beginning(caps);
            for (begin, is_newest, expected) in [
                (-900, false, None),
                (-800, true, Some(0)),
                (-700, false, None),
                (-640, true, Some(10)),
                (16, true, Some(51)),
                (80, true, Some(80)),
            ] {
                let place = place(rate, begin, None);
                let left = beginning.clip(gst::Buffer::new(), place, &segment(rate), is_newest);
                let left = left.map(|buffer| shown(rate, &buffer).0);
                assert_eq!(left, expected, "{begin} of {caps}");
            }
        }
    }
}

#[test]
fn of_coded_streams_nothing_is_left_out() {
    for rate in RATES {
        let (segment, mut beginning) = (segment(rate), beginning(CODED));
        let mut clip = |begin, length, is_newest| {
            let mut place = place(rate, begin, length);
            let decoded = (begin - 48) * MS;
            place.dts = Some(if rate < 0.0 {
                ZERO - decoded
            } else {
                ZERO + decoded
            });
            let mut buffer = gst::Buffer::new();
            buffer.make_mut().set_flags(gst::BufferFlags::DELTA_UNIT);
            let buffer = beginning.clip(buffer, place, &segment, is_newest).unwrap();
            let dts = buffer.dts().unwrap().nseconds() as i64;
            let after = if rate < 0.0 { ZERO - dts } else { dts - ZERO };
            assert!(after >= 0, "{after}");
            (shown(rate, &buffer), is_decode_only(&buffer))
        };
        assert_eq!(clip(-512, Some(20), false), ((3, Some(4)), true));
        assert_eq!(clip(-480, Some(20), false), ((5, Some(6)), true));
        // The newest picture is shown.
        assert_eq!(clip(-464, Some(20), true), ((6, Some(26)), false));
        assert_eq!(clip(-448, Some(20), true), ((7, Some(8)), true));
        assert_eq!(clip(-16, Some(20), true), ((34, Some(35)), false));
        assert_eq!(clip(16, Some(20), true), ((36, Some(37)), false));
        assert_eq!(clip(48, Some(20), true), ((48, Some(68)), false));
    }
}

#[test]
fn a_stream_whose_first_picture_is_decoded_before_the_start_stays_as_it_is() {
    for rate in RATES {
        let (segment, mut beginning) = (segment(rate), beginning(CODED));
        for number in 0..5 {
            let mut place = place(rate, 20 * number, Some(20));
            let decoded = (20 * number - 40) * MS;
            place.dts = Some(if rate < 0.0 {
                ZERO - decoded
            } else {
                ZERO + decoded
            });
            let left = beginning.clip(gst::Buffer::new(), place, &segment, true);
            let left = left.unwrap();
            let nseconds = |time: gst::ClockTime| time.nseconds() as i64;
            assert_eq!(left.pts().map(nseconds), place.pts);
            assert_eq!(left.dts().map(nseconds), place.dts);
            assert_eq!(left.duration().map(nseconds), place.duration);
        }
    }
}

#[test]
fn what_other_frames_need_is_not_left_out() {
    for flag in [gst::BufferFlags::DELTA_UNIT, gst::BufferFlags::HEADER] {
        let mut buffer = gst::Buffer::new();
        buffer.make_mut().set_flags(flag);
        let place = place(1.0, -500, Some(20));
        let left = beginning("image/x-jpc").clip(buffer, place, &segment(1.0), false);
        assert!(is_decode_only(&left.unwrap()));
    }
}

#[test]
fn what_has_no_time_passes_as_it_is() {
    for caps in [
        PICTURES,
        CODED,
        "audio/x-raw,format=S16LE,rate=8000,channels=1,layout=interleaved",
    ] {
        let buffer = gst::Buffer::from_slice([0; 100]);
        let mut beginning = beginning(caps);
        let left = beginning
            .clip(buffer, Place::default(), &segment(1.0), true)
            .unwrap();
        assert_eq!(
            (left.pts(), left.dts(), left.duration(), left.size()),
            (None, None, None, 100)
        );
        // A segment in bytes has no running times.
        let mut bytes = gst::Segment::new();
        bytes.set_format(gst::Format::Bytes);
        let place = place(1.0, -5000, Some(20));
        let left = beginning
            .clip(gst::Buffer::new(), place, &bytes, false)
            .unwrap();
        assert_eq!(left.pts().map(|pts| pts.nseconds() as i64), place.pts);
        assert_eq!(beginning.clip_gap(place, &bytes), Some(place));
    }
}

#[test]
fn a_position_outside_of_the_segment_stays_there() {
    init();
    // Before the start of the segment, which has a base, so that the running time is positive.
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(gst::ClockTime::from_seconds(5));
    segment.set_base(gst::ClockTime::from_seconds(3));
    let place = Place {
        pts: Some(4 * SECOND),
        dts: Some(3 * SECOND),
        duration: Some(20 * MS),
    };
    let left = beginning(CODED).clip(gst::Buffer::new(), place, segment.upcast_ref(), false);
    let left = left.unwrap();
    assert_eq!(left.pts(), Some(gst::ClockTime::from_seconds(4)));
    assert_eq!(left.dts(), Some(gst::ClockTime::from_seconds(3)));
    assert!(!is_decode_only(&left));
}

#[test]
fn another_stream_begins_where_the_last_one_was() {
    // At rate 1, milliseconds of the stream are milliseconds of running time.
    let segment = segment(1.0);
    for (caps, first) in [(PICTURES, 101), (CODED, 101)] {
        let mut beginning = beginning(caps);
        let clip = |beginning: &mut Beginning, begin, is_newest| {
            let place = place(1.0, begin, Some(20));
            let left = beginning.clip(gst::Buffer::new(), place, &segment, is_newest);
            left.map(|buffer| shown(1.0, &buffer).0)
        };
        assert_eq!(clip(&mut beginning, 100, true), Some(100));
        beginning.join(1000 * MS);
        assert_eq!(clip(&mut beginning, 61, true), Some(first));
        assert_eq!(clip(&mut beginning, 93, true), Some(first + 2));
        assert_eq!(clip(&mut beginning, 113, true), Some(113));
        // A pause.
        beginning.resume(1000 * MS);
        assert_eq!(clip(&mut beginning, 117, false), Some(117));
        // The running time was set back.
        assert_eq!(clip(&mut beginning, 2000, false), Some(2000));
        beginning.resume(10 * MS);
        assert_eq!(clip(&mut beginning, 10, false), Some(10));
        beginning.flush();
        assert_eq!(clip(&mut beginning, 2, false), Some(2));
    }
}

#[test]
fn gaps_are_cut_or_left_out() {
    for rate in RATES {
        let beginning = beginning(PICTURES);
        let clip = |begin, length| {
            let left = beginning.clip_gap(place(rate, begin, length), &segment(rate))?;
            let mut buffer = gst::Buffer::new();
            set_times(&mut buffer, left);
            Some(shown(rate, &buffer))
        };
        assert_eq!(clip(-50, Some(50)), None);
        assert_eq!(clip(-50, Some(60)), Some((0, Some(10))));
        assert_eq!(clip(5, Some(60)), Some((5, Some(65))));
        assert_eq!(clip(-5, None), Some((0, None)));
    }
}
