//! Sound, which is cut to the sample.

use gst_audio::{AudioCapsBuilder, AudioFormat, AudioLayout, AudioMeta};

use super::*;

/// Makes a buffer of stereo audio at 8000 Hz. 1 ms has 8 samples, and each byte of a sample is its
/// number.
pub(super) fn sound(milliseconds: u8, layout: AudioLayout) -> (Beginning, gst::Buffer) {
    init();
    let caps = AudioCapsBuilder::new()
        .format(AudioFormat::U8)
        .rate(8000)
        .channels(2);
    let caps = caps.layout(layout).build();
    let mut beginning = Beginning::default();
    beginning.set_caps(&caps);
    let samples = 8 * milliseconds;
    let bytes: Vec<u8> = match layout {
        AudioLayout::Interleaved => (0..samples).flat_map(|sample| [sample; 2]).collect(),
        _ => (0..samples).chain(0..samples).collect(),
    };
    let mut buffer = gst::Buffer::from_slice(bytes);
    let info = AudioInfo::from_caps(&caps).unwrap();
    if layout == AudioLayout::NonInterleaved {
        AudioMeta::add(buffer.make_mut(), &info, samples.into(), &[]).unwrap();
    }
    (beginning, buffer)
}

/// Returns the samples of a buffer, as an element reads them.
fn heard(buffer: &gst::BufferRef) -> Vec<u8> {
    let map = buffer.map_readable().unwrap();
    match buffer.meta::<AudioMeta>() {
        Some(meta) => {
            let [left, right] = [0, 1].map(|channel| {
                let offset = meta.offsets()[channel];
                map[offset..offset + meta.samples()].to_vec()
            });
            assert_eq!(left, right);
            left
        }
        None => {
            let samples = map.chunks(2);
            samples
                .map(|sample| {
                    assert_eq!(sample[0], sample[1]);
                    sample[0]
                })
                .collect()
        }
    }
}

#[test]
fn sound_is_cut_to_the_sample() {
    for layout in [AudioLayout::Interleaved, AudioLayout::NonInterleaved] {
        for rate in RATES {
            let segment = segment(rate);
            let clip = |begin, has_duration: bool| {
                let (mut beginning, buffer) = sound(10, layout);
                let mut place = place(rate, begin, Some(10));
                if !has_duration {
                    place.duration = None;
                }
                let pointer = buffer.peek_memory(0).as_mut_ptr();
                let left = beginning.clip(buffer, place, &segment, true)?;
                let parent = left
                    .peek_memory(0)
                    .parent()
                    .map_or(left.peek_memory(0).as_mut_ptr(), |parent| {
                        parent.as_mut_ptr()
                    });
                assert_eq!(parent, pointer, "it was copied");
                assert_eq!(left.duration().is_some(), has_duration);
                Some(left)
            };
            for has_duration in [true, false] {
                assert!(clip(-1000, has_duration).is_none());
                assert!(clip(-10, has_duration).is_none());
                let whole = clip(0, has_duration).unwrap();
                assert_eq!(heard(&whole), (0..80).collect::<Vec<_>>());
                let part = clip(-4, has_duration).unwrap();
                // In reverse playback the end is shown first.
                let expected = if rate < 0.0 { 0..48 } else { 32..80 };
                assert_eq!(heard(&part), expected.collect::<Vec<_>>());
                if has_duration {
                    assert_eq!(shown(rate, &part), (0, Some(6)));
                }
            }
        }
    }
}

#[test]
fn samples_stay_where_they_are_in_time() {
    for rate in [1.0, -1.0] {
        let (segment, length) = (segment(rate), 10 * MS);
        // One sample takes 125 us.
        for (begin, cut) in [
            (-1, 1),
            (-124_999, 1),
            (-125_000, 1),
            (-125_001, 2),
            (-9_874_999, 79),
        ] {
            let (mut beginning, buffer) = sound(10, AudioLayout::Interleaved);
            let pts = if rate < 0.0 {
                ZERO - begin - length
            } else {
                ZERO + begin
            };
            let place = Place {
                pts: Some(pts),
                dts: None,
                duration: Some(length),
            };
            let left = beginning.clip(buffer, place, &segment, true).unwrap();
            assert_eq!(left.size(), 2 * (80 - cut));
            let nseconds = |time: Option<gst::ClockTime>| time.unwrap().nseconds() as i64;
            let (start, duration) = (nseconds(left.pts()), nseconds(left.duration()));
            assert_eq!(duration, (80 - cut as i64) * 125_000);
            if rate < 0.0 {
                assert_eq!(start, pts)
            } else {
                assert_eq!(start + duration, pts + length)
            }
        }
        // No sample is left.
        let (mut beginning, buffer) = sound(10, AudioLayout::Interleaved);
        let place = Place {
            pts: Some(if rate < 0.0 {
                ZERO - 1
            } else {
                ZERO - length + 1
            }),
            dts: None,
            duration: Some(length),
        };
        assert!(beginning.clip(buffer, place, &segment, true).is_none());
    }
}

#[test]
fn sound_for_clients_that_are_waited_for_is_not_left_out() {
    let (mut beginning, buffer) = sound(10, AudioLayout::Interleaved);
    beginning.set_has_all(true);
    let left = beginning
        .clip(buffer, place(1.0, -500, Some(10)), &segment(1.0), true)
        .unwrap();
    assert_eq!(heard(&left).len(), 80);
    assert_eq!(shown(1.0, &left), (0, Some(10)));
}

#[test]
fn planes_that_nothing_is_said_of_are_not_cut() {
    let (mut beginning, _) = sound(10, AudioLayout::NonInterleaved);
    let buffer = gst::Buffer::from_slice([0; 160]);
    let left = beginning
        .clip(buffer, place(1.0, -4, Some(10)), &segment(1.0), true)
        .unwrap();
    assert_eq!(left.size(), 160);
    assert_eq!(shown(1.0, &left).0, 0);
}

#[test]
fn other_sound_goes_on_with_the_next_sample() {
    for rate in RATES {
        let segment = segment(rate);
        let (mut beginning, buffer) = sound(10, AudioLayout::Interleaved);
        beginning.clip(buffer, place(rate, 50, Some(10)), &segment, true);
        beginning.join(1000 * MS);
        let mut clip = |begin| {
            let (_, buffer) = sound(10, AudioLayout::Interleaved);
            let left = beginning.clip(buffer, place(rate, begin, Some(10)), &segment, true);
            left.map(|left| heard(&left).len())
        };
        assert_eq!(clip(50), None);
        let left = clip(56).unwrap();
        // If the rate is not an integer, times are rounded.
        assert!((47..=48).contains(&left), "{left}");
        assert_eq!(clip(66), Some(80));
    }
}
