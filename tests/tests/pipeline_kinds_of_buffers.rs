//! Buffers of every kind arrive as they were sent: without memory, with several memories, parts of
//! other buffers, small and huge ones, alone and in lists.

use gst::prelude::*;
use gst_video::VideoCropMeta;
use xmem_tests::local::{self, Local, assert_same};
use xmem_tests::pipeline::fill;
use xmem_tests::random::Random;
use xmem_tests::{Place, process, until};

/// A producer that pushes buffers without further structure, and its client.
fn exchange(place: &Place) -> (Local, Local) {
    let producer = local::pushing(place);
    producer.set_caps(&gst::Caps::new_empty_simple("application/x-test"));
    (producer, local::pulling(place))
}

/// A buffer of bytes that `seed` determines.
fn filled(seed: u64, size: usize) -> gst::Buffer {
    let mut bytes = vec![0; size];
    fill(seed, &mut bytes);
    gst::Buffer::from_slice(bytes)
}

/// The memory of a buffer with a single memory.
fn memory(buffer: &gst::BufferRef) -> gst::Memory {
    let memory = buffer.iter_memories_owned().next();
    memory.expect("the buffer has a memory")
}

#[test]
fn a_buffer_without_memory_arrives_with_its_metadata() {
    let place = Place::new();
    let producer = local::pushing(&place);
    let client = local::pulling(&place);
    let video = "video/x-raw,format=RGB,width=64,height=48,framerate=30/1";
    let gap = gst::BufferFlags::GAP | gst::BufferFlags::DROPPABLE;
    for caps in [
        "application/x-test",
        video,
        "audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved",
    ] {
        producer.set_caps(&caps.parse().expect("caps"));
        for flags in [gst::BufferFlags::empty(), gap, gst::BufferFlags::HEADER] {
            let mut sent = gst::Buffer::new();
            let content = sent.make_mut();
            content.set_flags(flags);
            content.set_duration(gst::ClockTime::from_mseconds(20));
            content.set_offset(5);
            content.set_offset_end(6);
            if caps == video {
                VideoCropMeta::add(content, (1, 2, 30, 20));
            }
            producer.push(&sent);
            let sample = client.pull().expect("the stream continues");
            let received = sample.buffer().expect("a sample has a buffer");
            assert_same(&sent, received);
            assert_eq!(received.n_memory(), 0);
            assert_eq!(sample.caps().map(|caps| caps.to_owned()), caps.parse().ok());
            let crop = received.meta::<VideoCropMeta>().map(|meta| meta.rect());
            assert_eq!(crop, (caps == video).then_some((1, 2, 30, 20)));
        }
        // And one with bytes between them.
        let sent = filled(1, 64 * 48 * 3);
        producer.push(&sent);
        assert_same(&sent, &client.pull_buffer());
    }
}

#[test]
fn a_picture_without_memory_may_say_where_its_planes_were() {
    let place = Place::new();
    let producer = local::pushing(&place);
    let client = local::pulling(&place);
    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, 64, 48);
    let info = info.build().expect("a format");
    producer.set_caps(&info.to_caps().expect("caps"));
    let mut gap = gst::Buffer::new();
    let content = gap.make_mut();
    content.set_flags(gst::BufferFlags::GAP);
    let flags = gst_video::VideoFrameFlags::empty();
    let (offset, stride) = (info.offset(), info.stride());
    gst_video::VideoMeta::add_full(content, flags, info.format(), 64, 48, offset, stride)
        .expect("a video meta");
    let picture = filled(1, info.size());
    for sent in [&gap, &picture, &gap] {
        producer.push(sent);
        assert_same(sent, &client.pull_buffer());
    }
}

#[test]
fn memories_of_several_kinds_arrive_as_one() {
    let place = Place::new();
    let (producer, client) = exchange(&place);
    producer.push(&filled(0, 10));
    client.pull_buffer();
    let pad = producer.element("src").static_pad("src").expect("a pad");
    let caps = gst::Caps::new_empty_simple("application/x-test");
    let mut query = gst::query::Allocation::new(Some(&caps), false);
    assert!(pad.peer_query(&mut query));
    let (allocator, params) = query.allocation_params().next().expect("an allocator");
    let in_a_slot = || {
        let allocator = allocator.as_ref().expect("the allocator of the sink");
        let memory = allocator.alloc(777, Some(&params)).expect("memory");
        let mut map = memory
            .into_mapped_memory_writable()
            .expect("the memory is new");
        fill(1, &mut map);
        map.into_memory()
    };
    let in_the_system = || {
        let mut buffer = gst::Buffer::with_size(5000).expect("memory");
        fill(
            2,
            &mut buffer.make_mut().map_writable().expect("the buffer is new"),
        );
        memory(&buffer)
    };
    let in_a_vector = || memory(&filled(3, 123));
    let received = {
        producer.push(&filled(4, 4096));
        memory(&client.pull_buffer())
    };
    let part = |memory: &gst::Memory| memory.share(50..100);
    for memories in [
        vec![in_a_slot(), in_the_system()],
        vec![in_the_system(), in_a_slot(), in_a_vector()],
        vec![
            part(&in_a_slot()),
            part(&in_the_system()),
            part(&in_a_vector()),
        ],
        vec![received.clone(), in_a_vector()],
        vec![part(&received)],
        vec![part(&received), in_a_slot(), part(&received)],
        (0..16).map(|_| part(&in_a_vector())).collect(),
    ] {
        let mut sent = gst::Buffer::new();
        for memory in memories {
            sent.make_mut().append_memory(memory);
        }
        producer.push(&sent);
        let received = client.pull_buffer();
        assert_same(&sent, &received);
        assert_eq!(received.n_memory(), 1);
    }
}

#[test]
fn a_part_of_a_buffer_arrives_as_that_part() {
    let place = Place::new();
    let (producer, client) = exchange(&place);
    let whole = filled(1, 10_000);
    for range in [0..10_000, 0..1, 9_999..10_000, 1234..5678] {
        let flags = gst::BufferCopyFlags::all() - gst::BufferCopyFlags::DEEP;
        let sent = whole.copy_region(flags, range.clone()).expect("a part");
        assert_eq!(sent.size(), range.len());
        producer.push(&sent);
        assert_same(&sent, &client.pull_buffer());
    }
    // Memory with space before and after its content.
    let params = gst::AllocationParams::new(gst::MemoryFlags::empty(), 63, 100, 200);
    let allocator = gst::Allocator::find(None).expect("the system allocator");
    let memory = allocator.alloc(1000, Some(&params)).expect("memory");
    assert!(memory.maxsize() >= 1300 && memory.offset() >= 100);
    let mut map = memory
        .into_mapped_memory_writable()
        .expect("the memory is new");
    fill(2, &mut map);
    let mut sent = gst::Buffer::new();
    sent.make_mut().append_memory(map.into_memory());
    sent.make_mut().set_size(321);
    producer.push(&sent);
    let received = client.pull_buffer();
    assert_same(&sent, &received);
    assert_eq!(received.size(), 321);
}

#[test]
fn buffers_of_any_size_from_empty_to_huge_arrive() {
    let place = Place::new();
    let (producer, client) = exchange(&place);
    let mut random = Random::new();
    let mut largest: u64 = 1;
    for number in 0..200 {
        // Occasionally larger than all before.
        let size = match random.number() % 4 {
            0 => 0,
            1 => random.number() % 100,
            2 => random.number() % largest,
            _ => {
                largest = (largest * 2).min(2_000_000);
                random.number() % largest
            }
        };
        let size = if number == 120 { 50_000_000 } else { size };
        let sent = filled(number, size as usize);
        producer.push(&sent);
        assert_same(&sent, &client.pull_buffer());
    }
    let stats = producer.stats("sink");
    assert_eq!(stats.get::<u64>("published"), Ok(200), "{stats}");
    assert_eq!(stats.get::<u64>("dropped"), Ok(0), "{stats}");
}

#[test]
fn the_memory_of_a_huge_buffer_is_released_with_the_stream() {
    let place = Place::new();
    let (producer, client) = exchange(&place);
    for size in [10, 50_000_000, 10] {
        let sent = filled(1, size);
        producer.push(&sent);
        assert_same(&sent, &client.pull_buffer());
    }
    drop(client);
    drop(producer);
    // Other tests of this process have memory of their own, but none as large.
    until("no mapping of that size is left", || {
        let maps = process::maps(std::process::id(), "xmem-payload");
        maps.iter().all(|map| map.len < 50_000_000)
    });
}

#[test]
fn the_buffers_of_a_list_arrive_one_by_one_and_in_order() {
    let place = Place::new();
    let (producer, client) = exchange(&place);
    for (list, length) in [1, 2, 100, 0, 7].into_iter().enumerate() {
        let buffers = (0..length).map(|number| {
            let mut buffer = filled(list as u64, 50 * number);
            buffer.make_mut().set_offset(number as u64);
            buffer
        });
        let sent: Vec<_> = buffers.collect();
        producer.push_list(&sent.iter().cloned().collect());
        for sent in &sent {
            assert_same(sent, &client.pull_buffer());
        }
    }
    // A buffer that is pushed alone arrives after the lists.
    let sent = filled(9, 9);
    producer.push(&sent);
    assert_same(&sent, &client.pull_buffer());
    producer.end();
    assert!(client.pull().is_none());
}
