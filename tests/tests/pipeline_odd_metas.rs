//! Buffers that clients could not read completely: the producer leaves out what is odd about them
//! and posts a warning once, and its clients continue.

use gst::prelude::*;
use gst_video::prelude::*;
use gst_video::{
    VideoAlignment, VideoFormat, VideoFrameFlags, VideoFrameRef, VideoInfo, VideoMeta,
};
use xmem_tests::local::{self, Local, bytes};
use xmem_tests::metas::{Fate, ODD, ODD_CAPS};
use xmem_tests::pipeline::{PUSHING, Pipeline, Push, State};
use xmem_tests::{Place, metas};

const PATIENT: &str =
    "sync=false overflow=block block-timeout=20000000000 wait-for-connection=true";

#[test]
fn an_odd_meta_costs_no_client_its_stream_and_no_other_buffer() {
    let place = Place::new();
    let producer = format!("{PUSHING} {PATIENT}");
    let mut producer = Pipeline::start(&place, &[], &producer);
    let client = "xmemsrc name=src channel=cam0 on-disconnect=reconnect ! fakesink name=out";
    let mut client = Pipeline::play(&place, &["report out.sink"], client);
    let mut warnings = 0;
    for (number, (name, fate, _)) in ODD.iter().enumerate() {
        // A new stream.
        let marks = (producer.mark(), client.mark());
        producer.change(State::Null);
        producer.change(State::Playing);
        producer.until_clients_since(marks.0, "sink", 1);
        let plain = Push::of(ODD_CAPS);
        producer.push(&plain);
        producer.push(plain.clone().count(2).metas(&[name]));
        producer.push(plain);
        client.until_buffers_since(marks.1, "out.sink", 4);
        let stats = producer.stats("sink");
        let stays = *fate != Fate::Crosses;
        let refused = if stays { 2 } else { 0 };
        assert_eq!(stats.number("refused-metas"), refused, "{name}: {stats}");
        assert_eq!(stats.number("published"), 4, "{name}: {stats}");
        if stays {
            let warning = producer.until_since(marks.0, "the sink says what it left out", |line| {
                line.word == "message" && line.text("type") == "warning"
            });
            warnings += 1;
            assert_eq!(warning.text("from"), "sink", "{name}: {warning}");
            assert_eq!(warning.text("kind"), "Stream.Format", "{name}: {warning}");
            let done = match fate {
                Fate::Copied => "was copied",
                _ => "without it",
            };
            for word in ["Clients cannot use", done, "refused-metas"] {
                assert!(warning.text("text").contains(word), "{name}: {warning}");
            }
        }
        assert_eq!(producer.messages().len(), warnings, "{name}");
        let stats = client.stats("src");
        let received = 4 * (number as u64 + 1);
        assert_eq!(stats.number("received"), received, "{name}: {stats}");
        assert_eq!(stats.number("missed"), 0, "{name}: {stats}");
    }
    assert_eq!(client.messages(), [""; 0]);
}

/// A producer of frames of [`ODD_CAPS`], and its client.
fn exchange(place: &Place) -> (Local, Local, VideoInfo) {
    let producer = local::pushing(place);
    let client = local::pulling(place);
    let caps = ODD_CAPS.parse::<gst::Caps>().expect("caps");
    producer.set_caps(&caps);
    (
        producer,
        client,
        VideoInfo::from_caps(&caps).expect("raw video"),
    )
}

/// Fills a buffer of 115200 bytes: each row of the picture with its number.
fn fill_rows(buffer: &mut gst::BufferRef) {
    let mut map = buffer.map_writable().expect("the buffer is writable");
    for (number, row) in map.chunks_mut(320).enumerate() {
        row.fill(number as u8);
    }
}

#[test]
fn a_picture_that_lies_upside_down_arrives_the_right_way_up() {
    let place = Place::new();
    let (producer, client, info) = exchange(&place);
    // In system memory, and in a slot.
    producer.push(&gst::Buffer::with_size(info.size()).expect("memory"));
    client.pull_buffer();
    let pad = producer.element("src").static_pad("src").expect("a pad");
    let mut query = gst::query::Allocation::new(Some(&info.to_caps().expect("caps")), true);
    assert!(pad.peer_query(&mut query));
    let (allocator, params) = query.allocation_params().next().expect("an allocator");
    let allocator = allocator.expect("the allocator of the sink");
    for is_slot in [false, true] {
        let mut sent = if is_slot {
            let memory = allocator.alloc(info.size(), Some(&params)).expect("memory");
            let mut sent = gst::Buffer::new();
            sent.make_mut().append_memory(memory);
            sent
        } else {
            gst::Buffer::with_size(info.size()).expect("memory")
        };
        let content = sent.make_mut();
        fill_rows(content);
        let flags = VideoFrameFlags::TFF;
        let (offset, stride) = ([320 * 239, 320 * 240], [-320, 320]);
        VideoMeta::add_full(
            content,
            flags,
            VideoFormat::Nv12,
            320,
            240,
            &offset,
            &stride,
        )
        .expect("a meta");
        gst_video::VideoCropMeta::add(content, (0, 0, 320, 240));
        producer.push(&sent);
        let received = client.pull_buffer();
        let meta = received
            .meta::<VideoMeta>()
            .expect("the meta says where the rows are");
        assert_eq!(meta.stride(), [320, 320]);
        assert_eq!(meta.video_frame_flags(), flags);
        assert!(received.meta::<gst_video::VideoCropMeta>().is_some());
        let rows = bytes(&received);
        let rows = rows.chunks(320).map(|row| {
            assert!(row.iter().all(|&byte| byte == row[0]));
            usize::from(row[0])
        });
        let luma = (0..240).rev();
        let chroma = (240..360).map(|row| row % 256);
        let expected = luma.chain(chroma).collect::<Vec<_>>();
        assert_eq!(rows.collect::<Vec<_>>(), expected, "slot: {is_slot}");
    }
    let stats = producer.stats("sink");
    assert_eq!(stats.get::<u64>("refused-metas"), Ok(2), "{stats}");
    assert_eq!(stats.get::<u64>("copied"), Ok(3), "{stats}");
}

#[test]
fn the_record_of_a_frame_matches_what_its_client_gets() {
    // The record describes the layout that crosses, and not the one that was left out.
    let place = Place::new();
    let producer = local::pushing(&place);
    let client = local::pulling(&place);
    let caps = "video/x-raw,format=RGB,width=64,height=48,framerate=30/1";
    producer.set_caps(&caps.parse().expect("caps"));
    let mut sent = gst::Buffer::with_size(192 * 48).expect("memory");
    let none = VideoFrameFlags::empty();
    let format = VideoFormat::Rgb;
    VideoMeta::add_full(sent.make_mut(), none, format, 64, 48, &[0], &[4 << 20]).expect("a meta");
    producer.push(&sent);
    let received = client.pull_buffer();
    let meta = received
        .meta::<VideoMeta>()
        .expect("the meta from the caps");
    assert_eq!(meta.stride(), [192]);
    let record = gst::meta::CustomMeta::from_buffer(&received, "XmemBufferMeta");
    let strides = record
        .expect("a record")
        .structure()
        .get::<gst::Array>("strides");
    let strides = strides.expect("strides");
    let strides = strides
        .iter()
        .map(|number| number.get::<u64>().expect("numbers"));
    assert_eq!(strides.collect::<Vec<_>>(), [192, 3, 1]);
}

/// The first byte of each plane of a picture, which can be mapped.
fn first_bytes(buffer: &gst::Buffer, info: &VideoInfo) -> Vec<usize> {
    let frame = VideoFrameRef::from_buffer_ref_readable(buffer, info);
    frame
        .expect("the frame can be mapped")
        .plane_offset()
        .to_vec()
}

fn seed(padding: [u32; 5]) -> u8 {
    padding.iter().fold(7, |seed, &number| seed ^ number as u8)
}

/// Requests a pool from the sink with this alignment, fills a buffer of it and pushes the buffer.
/// Returns whether the buffer was aligned in that way.
fn push_from_pool(producer: &Local, info: &VideoInfo, padding: [u32; 5]) -> bool {
    let caps = info.to_caps().expect("caps");
    let pad = producer.element("src").static_pad("src").expect("a pad");
    let mut query = gst::query::Allocation::new(Some(&caps), true);
    assert!(pad.peer_query(&mut query));
    let (pool, size, ..) = query.allocation_pools().next().expect("a pool");
    let pool = pool.expect("a pool");
    let mut config = pool.config();
    config.set_params(Some(&caps), size, 2, 0);
    config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META);
    config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_ALIGNMENT);
    let [top, bottom, left, right, stride] = padding;
    config.set_video_alignment(&VideoAlignment::new(top, bottom, left, right, &[stride; 4]));
    let is_aligned = pool.set_config(config).is_ok();
    if !is_aligned {
        // Every decoder does this: it accepts the alignment that the pool offers.
        let config = pool.config();
        assert!(!config.has_option(gst_video::BUFFER_POOL_OPTION_VIDEO_ALIGNMENT));
        pool.set_config(config)
            .expect("the alignment that the pool offers");
    }
    pool.set_active(true).expect("there is enough memory");
    let mut buffer = pool.acquire_buffer(None).expect("a slot");
    let starts = first_bytes(&buffer, info);
    let mut map = buffer
        .make_mut()
        .map_writable()
        .expect("the buffer is writable");
    for (number, start) in starts.into_iter().enumerate() {
        map[start] = seed(padding) + number as u8;
    }
    drop(map);
    producer.push(&buffer);
    pool.set_active(false).expect("the pool can be deactivated");
    is_aligned
}

#[test]
fn a_pool_gives_no_alignment_in_which_clients_could_not_read() {
    let place = Place::new();
    let producer = local::pushing(&place);
    let client = local::pulling(&place);
    let formats = [
        (VideoFormat::Nv12, (320, 240), true),
        (VideoFormat::I420, (321, 241), true),
        (VideoFormat::Nv1264z32, (320, 240), false),
        (VideoFormat::Nv124l4, (320, 240), false),
        (VideoFormat::Nv1216l32s, (161, 99), false),
        (VideoFormat::Nv12, (320, 240), true),
    ];
    for (format, (width, height), can_be_aligned) in formats {
        let info = VideoInfo::builder(format, width, height)
            .build()
            .expect("a format");
        producer.set_caps(&info.to_caps().expect("caps"));
        producer.push(&gst::Buffer::with_size(info.size()).expect("memory"));
        client.pull_buffer();
        for padding in [
            [0, 16, 0, 0, 0],
            [0, 0, 0, 0, 15],
            [32, 32, 32, 32, 127],
            [0, 0, 0, 0, 4095],
        ] {
            let is_aligned = push_from_pool(&producer, &info, padding);
            if can_be_aligned {
                assert!(is_aligned, "{format} {padding:?}");
            }
            let received = client.pull_buffer();
            assert!(received.size() < 8 << 20, "{format} {padding:?}");
            let map = received.map_readable().expect("the buffer can be read");
            for (number, start) in first_bytes(&received, &info).into_iter().enumerate() {
                let expected = seed(padding) + number as u8;
                assert_eq!(map[start], expected, "{format} {padding:?}");
            }
        }
    }
    let stats = producer.stats("sink");
    let zero_copy = 4 * formats.len() as u64;
    assert_eq!(stats.get::<u64>("zero-copy"), Ok(zero_copy), "{stats}");
    assert_eq!(stats.get::<u64>("refused-metas"), Ok(0), "{stats}");
}

#[test]
fn an_event_of_more_parts_than_clients_read_does_not_cross() {
    let place = Place::new();
    let (producer, client, info) = exchange(&place);
    let picture = gst::Buffer::with_size(info.size()).expect("memory");
    producer.push(&picture);
    client.pull_buffer();
    let streams = (0..1025).map(|number| {
        let id = number.to_string();
        gst::Stream::new(
            Some(&id),
            None,
            gst::StreamType::VIDEO,
            gst::StreamFlags::empty(),
        )
    });
    let collection = gst::StreamCollection::builder(None)
        .streams(streams)
        .build();
    let pad = producer.element("src").static_pad("src").expect("a pad");
    for _ in 0..2 {
        pad.push_event(gst::event::StreamCollection::new(&collection));
        producer.push(&picture);
        client.pull_buffer();
    }
    let warning = producer.message(&[gst::MessageType::Warning]);
    let gst::MessageView::Warning(warning) = warning.view() else {
        panic!("{warning:?}");
    };
    let text = warning.error().message().to_owned();
    assert!(text.contains("stream-collection"), "{text}");
    assert_eq!(producer.messages(), [""; 0]);
    assert_eq!(client.messages(), [""; 0]);
}

#[test]
fn every_odd_meta_has_another_name() {
    let names = metas::KINDS.iter().map(|(name, _)| *name);
    let names = names.chain(ODD.iter().map(|(name, ..)| *name));
    let mut names = names.collect::<Vec<_>>();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}
