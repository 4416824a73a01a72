//! Metas of every kind, there and back. What is each one's own is beside its code.

use gst::meta::CustomMeta;
use gst_audio::{AudioLevelMeta, AudioMeta};
use gst_video::video_meta::*;

use super::kind::*;
use super::*;
use crate::fuzz::quietly;
use crate::values::from_gst;

#[allow(dead_code)]
#[path = "../../../../tests/src/metas.rs"]
mod attached;

use attached::{KINDS, told};

/// A record of this kind.
pub(super) fn record(kind: u32, body: impl FnOnce(&mut Encoder<'_>) -> Option<()>) -> Vec<u8> {
    let mut extra = Vec::new();
    let written = Encoder::new(&mut extra).record(kind, body);
    written.unwrap();
    extra
}

/// What a relay publishes that receives these metas.
pub(super) fn sent_on(extra: &[u8]) -> Vec<u8> {
    let mut received = gst::Buffer::new();
    quietly(|| assert_eq!(attach(received.make_mut(), extra, None), Ok(())));
    let mut again = Vec::new();
    serialize(&received, None, true, &mut again);
    again
}

fn crossed(sent: &gst::BufferRef) -> gst::Buffer {
    let mut extra = Vec::new();
    serialize(sent, None, true, &mut extra);
    let mut received = gst::Buffer::with_size(sent.size()).unwrap();
    quietly(|| assert_eq!(attach(received.make_mut(), &extra, None), Ok(())));
    received
}

#[test]
fn metas_of_every_kind_cross_with_all_that_they_say() {
    gst::init().unwrap();
    for (name, add) in KINDS {
        let mut sent = gst::Buffer::with_size(100).unwrap();
        add(sent.make_mut());
        let received = crossed(&sent);
        assert_eq!(told(&received), told(&sent), "{name}");
    }
}

#[test]
fn metas_of_all_kinds_cross_together_and_in_order() {
    gst::init().unwrap();
    let mut sent = gst::Buffer::with_size(100).unwrap();
    for (_, add) in KINDS {
        add(sent.make_mut());
    }
    assert!(told(&sent).len() > 20);
    assert_eq!(told(&crossed(&sent)), told(&sent));
}

#[test]
fn regions_without_a_type_cross() {
    gst::init().unwrap();
    let extra = record(REGION, |body| {
        body.text("")?;
        (0..6).for_each(|number| body.u32(number));
        body.u32(0);
        Some(())
    });
    assert_eq!(sent_on(&extra), extra);
}

#[test]
fn downmixes_cross() {
    gst::init().unwrap();
    let positions = [[0, 1, 2].as_slice(), &[-2]];
    let extra = record(AUDIO_DOWNMIX, |body| {
        for positions in positions {
            body.u32(positions.len() as u32);
            positions.iter().for_each(|&position| body.i32(position));
        }
        (0..3).for_each(|number| body.f32(number as f32));
        Some(())
    });
    assert_eq!(sent_on(&extra), extra);
}

#[test]
fn alpha_channels_cross() {
    gst::init().unwrap();
    let mut alpha = gst::Buffer::from_slice([1, 2, 3]);
    alpha.make_mut().set_pts(gst::ClockTime::from_nseconds(5));
    let mut sent = gst::Buffer::new();
    codec_alpha::add(sent.make_mut(), alpha);
    let received = crossed(&sent);
    let alpha = received.meta::<VideoCodecAlphaMeta>().unwrap();
    let alpha = alpha.alpha_buffer();
    assert_eq!(alpha.map_readable().unwrap()[..], [1, 2, 3]);
    assert_eq!(alpha.pts(), Some(gst::ClockTime::from_nseconds(5)));
}

#[test]
fn more_of_a_kind_than_there_may_be_stay_behind() {
    gst::init().unwrap();
    let mut sent = gst::Buffer::new();
    for number in 0..MAX_OF_A_KIND + 10 {
        let rect = (number, 0, 0, 0);
        VideoRegionOfInterestMeta::add(sent.make_mut(), "face", rect);
    }
    let received = crossed(&sent);
    let last = received.iter_meta::<VideoRegionOfInterestMeta>().last();
    assert_eq!(last.unwrap().rect().0, MAX_OF_A_KIND - 1);

    // And a producer that sends more gets no further.
    let extra = record(BAR, |body| {
        [0, 1, 2, 3].into_iter().for_each(|number| body.u32(number));
        Some(())
    });
    let extra = extra.repeat(100_000);
    let mut received = gst::Buffer::new();
    assert_eq!(attach(received.make_mut(), &extra, None), Ok(()));
    let bars = received.iter_meta::<VideoBarMeta>().count();
    assert_eq!(bars, MAX_OF_A_KIND as usize);
}

#[test]
fn upstream_is_offered_what_does_not_change_the_picture() {
    gst::init().unwrap();
    let mut query = gst::query::Allocation::new(None, false);
    propose(&mut query);
    for offered in [
        query.find_allocation_meta::<VideoMeta>(),
        query.find_allocation_meta::<VideoCropMeta>(),
        query.find_allocation_meta::<VideoRegionOfInterestMeta>(),
        query.find_allocation_meta::<VideoCaptionMeta>(),
        query.find_allocation_meta::<AudioMeta>(),
    ] {
        assert!(offered.is_some());
    }
    let overlay = query.find_allocation_meta::<VideoOverlayCompositionMeta>();
    let affine = query.find_allocation_meta::<VideoAffineTransformationMeta>();
    assert_eq!((overlay, affine), (None, None));
}

#[test]
fn kinds_that_are_not_known_here_are_skipped() {
    gst::init().unwrap();
    let mut extra = Vec::new();
    let mut writer = Encoder::new(&mut extra);
    for kind in [9999, BAR, u32::MAX] {
        let written = writer.record(kind, |body| {
            [0, 1, 2, 3].into_iter().for_each(|number| body.u32(number));
            Some(())
        });
        written.unwrap();
    }
    let mut received = gst::Buffer::new();
    assert_eq!(attach(received.make_mut(), &extra, None), Ok(()));
    assert_eq!(told(&received).len(), 1);
}

#[test]
fn what_belongs_to_a_buffer_or_a_memory_stays_behind() {
    gst::init().unwrap();
    crate::memory::record::register();
    let mut sent = gst::Buffer::new();
    let content = sent.make_mut();
    gst::meta::ParentBufferMeta::add(content, &gst::Buffer::new());
    CustomMeta::add(content, "XmemBufferMeta").unwrap();
    let mut extra = vec![1];
    serialize(content, None, true, &mut extra);
    assert!(extra.is_empty());
}

/// An overlay of one picture without colours.
fn overlay(width: u32, height: u32) -> gst_video::VideoOverlayComposition {
    let bytes = vec![0; (width * height * 4) as usize];
    let mut picture = gst::Buffer::from_slice(bytes);
    let format = gst_video::VideoFormat::Ayuv;
    let none = gst_video::VideoFrameFlags::empty();
    VideoMeta::add(picture.make_mut(), none, format, width, height).unwrap();
    let flags = gst_video::VideoOverlayFormatFlags::empty();
    let rectangle = gst_video::VideoOverlayRectangle::new_raw(&picture, 0, 0, 1, 1, flags);
    gst_video::VideoOverlayComposition::new(&[rectangle]).unwrap()
}

#[test]
fn what_clients_would_refuse_stays_behind() {
    gst::init().unwrap();
    let crosses = |add: &dyn Fn(&mut gst::BufferRef)| {
        let mut sent = gst::Buffer::with_size(100).unwrap();
        add(sent.make_mut());
        assert_eq!(sent.iter_meta::<gst::Meta>().count(), 1);
        let received = crossed(&sent);
        received.iter_meta::<gst::Meta>().count() == 1
    };
    // At -1, as some say it.
    for (x, expected) in [(u32::MAX, false), (u32::MAX - 2, true)] {
        let rect = (x, 0, 2, 2);
        let add = |buffer: &mut gst::BufferRef| {
            VideoRegionOfInterestMeta::add(buffer, "face", rect);
        };
        assert_eq!(crosses(&add), expected, "{x}");
    }
    for (width, expected) in [(32768, false), (32767, true)] {
        let add = |buffer: &mut gst::BufferRef| {
            VideoOverlayCompositionMeta::add(buffer, &overlay(width, 1));
        };
        assert_eq!(crosses(&add), expected, "{width}");
    }
}

#[test]
fn what_was_said_of_more_audio_than_is_left_stays_behind() {
    gst::init().unwrap();
    let info = gst_audio::AudioInfo::builder(gst_audio::AudioFormat::S16le, 48000, 2);
    let mut whole = gst::Buffer::with_size(100).unwrap();
    AudioMeta::add(whole.make_mut(), &info.build().unwrap(), 25, &[]).unwrap();
    for (end, expected) in [(100, true), (99, false)] {
        let part = whole.copy_region(gst::BufferCopyFlags::all(), ..end);
        let part = part.unwrap();
        assert!(part.meta::<AudioMeta>().is_some());
        assert_eq!(crossed(&part).meta::<AudioMeta>().is_some(), expected);
    }
}

/// A record of a custom meta of that name and with these tags.
fn custom(name: &str, tags: &[&str]) -> Vec<u8> {
    let structure = gst::Structure::builder(name).field("a", 1).build();
    record(CUSTOM, |body| {
        body.u32(tags.len() as u32);
        tags.iter().try_for_each(|tag| body.text(tag))?;
        from_gst::structure(&structure)?.encode(body)
    })
}

#[test]
fn custom_metas_that_nobody_has_registered_are_registered() {
    gst::init().unwrap();
    let mut received = gst::Buffer::new();
    quietly(|| {
        let extra = custom("XmTestUnregistered", &["video", "own-tag"]);
        assert_eq!(attach(received.make_mut(), &extra, None), Ok(()));
    });
    let meta = CustomMeta::from_buffer(&received, "XmTestUnregistered").unwrap();
    assert_eq!(meta.structure().get::<i32>("a"), Ok(1));
    assert_eq!(meta.tags().len(), 2);
}

#[test]
fn names_of_types_and_of_libraries_are_not_registered_for_a_producer() {
    gst::init().unwrap();
    for name in [
        "GstElement",
        "gint",
        "GstLaterMeta",
        "GESx",
        "ab",
        "a/b",
        "a.b",
        "XmemOther",
    ] {
        let mut received = gst::Buffer::new();
        let extra = custom(name, &[]);
        quietly(|| assert_eq!(attach(received.make_mut(), &extra, None), Ok(()), "{name}"));
        assert!(told(&received).is_empty(), "{name}");
        assert!(!CustomMeta::is_registered(name));
    }
    // Another meta's name is no custom meta's.
    let _ = AudioLevelMeta::add(gst::Buffer::new().make_mut(), 1, true);
    let mut received = gst::Buffer::new();
    let extra = custom("GstAudioLevelMeta", &[]);
    quietly(|| assert_eq!(attach(received.make_mut(), &extra, None), Ok(())));
    assert!(told(&received).is_empty());
}

#[test]
fn a_producer_puts_no_records_on_buffers_that_are_used_again() {
    gst::init().unwrap();
    crate::memory::record::register();
    let mut recorder = crate::memory::recorder::Recorder::default();
    let extra = custom("XmemBufferMeta", &[]).repeat(100);
    for seq in 0..3 {
        let record = crate::memory::record::received(xmem_core::BufferMeta::bytes(0), seq, 0);
        let mut received = recorder.buffer(&record);
        quietly(|| assert_eq!(attach(received.make_mut(), &extra, None), Ok(())));
        assert_eq!(told(&received).len(), 1, "{seq}");
        let meta = CustomMeta::from_buffer(&received, "XmemBufferMeta").unwrap();
        assert_eq!(meta.structure().get::<u64>("seq"), Ok(seq));
    }
}

#[test]
fn what_gstreamer_would_call_critical_is_refused() {
    gst::init().unwrap();
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let (one, minus) = (1.0f32.to_bits(), -1i32 as u32);
    let bad: [(u32, Vec<u8>); 27] = [
        (REGION, words(&[0, 0, 0, u32::MAX, 0, 1, 0, 0])),
        (REGION, words(&[0, 0, 0, 0, 0, 0, 0, u32::MAX])),
        (TIME_CODE, words(&[25, 1, 0, 24, 0, 0, 0, 0, 0])),
        (TIME_CODE, words(&[25, 0, 0, 1, 0, 0, 0, 0, 0])),
        (TIME_CODE, words(&[minus, 1, 0, 1, 0, 0, 0, 0, 0])),
        (TIME_CODE, words(&[25, 1, 0, 1, 0, 0, 0, 3, 0])),
        (OVERLAY, words(&[1, 0, 0, one, 0, 0, 1, 1, 0, 1, 0])),
        (OVERLAY, words(&[1, 0, 0, one, 0, 0, 0, 1, 1, 1, 0])),
        (OVERLAY, words(&[1, 0, 8, one, 0, 0, 1, 1, 1, 1, 0])),
        (OVERLAY, words(&[1, 2, 0, one, 0, 0, 1, 1, 1, 1, 0])),
        (
            OVERLAY,
            words(&[1, 0, 0, 2.0f32.to_bits(), 0, 0, 1, 1, 1, 1, 0]),
        ),
        (
            OVERLAY,
            words(&[1, 0, 0, f32::NAN.to_bits(), 0, 0, 1, 1, 1, 1, 0]),
        ),
        (OVERLAY, words(&[1, 0, 0, one, 0, 0, 1, 1, 32767, 32767, 0])),
        (OVERLAY, words(&[1, 0, 0, one, 0, 0, 32767, 32767, 1, 1, 0])),
        (OVERLAY, words(&[1, 0, 0, one, 1 << 31, 0, 1, 1, 1, 1, 0])),
        (CAPTION, words(&[1])),
        (AFD, words(&[2, 1, 8])),
        (AFD, words(&[0, 3, 8])),
        (AFD, words(&[0, 1, 1])),
        (AFD, words(&[0, 0, 0])),
        (BAR, words(&[2, 0, 0, 0])),
        (SEI, words(&[0, 0, 0, 0])),
        (AUDIO_LEVEL, words(&[256, 0])),
        (AUDIO_CLIPPING, words(&[0, 0, 0, 0, 0])),
        (AUDIO_DOWNMIX, words(&[0, 1, 0])),
        (AUDIO_DOWNMIX, words(&[1, 64, 1, 0, 0])),
        (REFERENCE_TIMESTAMP, words(&[minus, minus, 0, 0])),
    ];
    for (number, (kind, body)) in bad.into_iter().enumerate() {
        let extra = record(kind, |writer| {
            writer.raw(&body);
            Some(())
        });
        let mut received = gst::Buffer::with_size(16).unwrap();
        quietly(|| {
            // What a later version may know is left out.
            let _ = attach(received.make_mut(), &extra, None);
            assert_eq!(told(&received), [""; 0], "{number}: {kind}");
        });
    }
}

#[test]
fn audio_outside_of_its_buffer_is_refused() {
    gst::init().unwrap();
    let whole = |planar: u32, channels: u32, positions: &[i32], samples: u64, offsets: &[u64]| {
        let unpositioned = u32::from(positions.is_empty());
        let extra = record(AUDIO, |body| {
            body.text("S16LE")?;
            for number in [
                48000,
                channels,
                unpositioned,
                planar,
                positions.len() as u32,
            ] {
                body.u32(number);
            }
            positions.iter().for_each(|&position| body.i32(position));
            body.u64(samples);
            offsets.iter().for_each(|&offset| body.u64(offset));
            Some(())
        });
        let mut received = gst::Buffer::with_size(40).unwrap();
        let mut whole = false;
        quietly(|| whole = attach(received.make_mut(), &extra, None).is_ok());
        assert_eq!(received.meta::<AudioMeta>().is_some(), whole);
        whole
    };
    assert!(whole(0, 2, &[0, 1], 10, &[]));
    assert!(whole(1, 2, &[0, 1], 10, &[20, 0]));
    assert!(whole(0, 2, &[], 10, &[]));
    assert!(whole(0, 20, &[], 1, &[]));
    assert!(!whole(0, 100, &[], 1, &[]));
    assert!(!whole(0, 2, &[0, 1], 11, &[]));
    assert!(!whole(0, 2, &[0, 1], 1 << 62, &[]));
    assert!(!whole(0, 2, &[0, 0], 10, &[]));
    assert!(!whole(0, 2, &[0, 99], 10, &[]));
    assert!(!whole(0, 2, &[0], 10, &[]));
    assert!(!whole(0, 2, &[-3, -3], 10, &[]));
    assert!(!whole(0, 0, &[], 10, &[]));
    assert!(!whole(0, u32::MAX, &[], 0, &[]));
    assert!(!whole(0, i32::MAX as u32, &[], 1, &[]));
    assert!(!whole(1, 2, &[0, 1], 10, &[21, 0]));
    assert!(!whole(1, 2, &[0, 1], 10, &[10, 0]));
    assert!(!whole(1, 2, &[0, 1], 10, &[u64::MAX, 0]));
    assert!(!whole(1, 2, &[0, 1], u64::MAX, &[20, 0]));
    assert!(!whole(1, 100, &[], 1, &[0]));
}

#[test]
fn no_byte_of_any_meta_makes_it_panic() {
    gst::init().unwrap();
    for (name, add) in KINDS {
        let mut sent = gst::Buffer::with_size(100).unwrap();
        add(sent.make_mut());
        let mut extra = Vec::new();
        serialize(&sent, None, true, &mut extra);
        if extra.len() > 1 << 20 {
            continue;
        }
        for at in 0..extra.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = extra.clone();
                changed[at] = value;
                for bytes in [&changed[..], &changed[..at]] {
                    quietly(|| {
                        let mut received = gst::Buffer::with_size(100).unwrap();
                        let _ = attach(received.make_mut(), bytes, None);
                        let copied = received.copy();
                        let mut again = Vec::new();
                        serialize(&copied, None, true, &mut again);
                        let mut received = gst::Buffer::with_size(100).unwrap();
                        assert_eq!(
                            attach(received.make_mut(), &again, None),
                            Ok(()),
                            "{name}: {at}"
                        );
                    });
                }
            }
        }
    }
}
